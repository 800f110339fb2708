"""Write the reports of a verdict: all of them under `.deploykit/reports`, and single ones to where they
are asked for.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from deploykit.gates.interface import WORK_FOLDER
from deploykit.gates.reports.annotations import as_gitlab, github_commands
from deploykit.gates.reports.common import was_judged
from deploykit.gates.reports.junit import as_junit
from deploykit.gates.reports.sarif import as_sarif
from deploykit.gates.verdict_files import prepare_work_folder
from deploykit.model import UsageError, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


__all__ = ["FORMATS", "parse_report_request", "publish", "write_report"]

FORMATS: Mapping[str, Callable[[Verdict], str]] = {
    "json": lambda verdict: json.dumps(verdict.as_json(), indent=2) + "\n",
    "sarif": lambda verdict: json.dumps(as_sarif(verdict)) + "\n",
    "junit": as_junit,
    "gitlab": lambda verdict: json.dumps(as_gitlab(verdict)) + "\n",
}
_ENDINGS = {"json": "json", "sarif": "sarif", "junit": "junit.xml", "gitlab": "gitlab.json"}


def publish(
    root: Path,
    verdict: Verdict,
    *,
    environment: Mapping[str, str],
    say: Callable[[str], None],
    annotate: bool = True,
) -> None:
    """Write `.deploykit/reports/<gate>.{json,sarif,junit.xml}`, whatever the outcome is.

    GitLab's report is written where `GITLAB_CI` is set; GitHub's annotations are said where `GITHUB_ACTIONS` is.
    `annotate` False is for a verdict that joins others, which have been said.
    """
    folder = prepare_work_folder(root) / "reports"
    folder.mkdir(exist_ok=True)
    wanted = ["json", "sarif", "junit", *(["gitlab"] if environment.get("GITLAB_CI") else [])]
    for kind in wanted:
        target = folder / f"{verdict.gate}.{_ENDINGS[kind]}"
        tests = folder / f"{verdict.gate}.xml"
        if kind == "junit" and verdict.evidence.tool == "pytest" and was_judged(verdict) and tests.is_file():
            shutil.copyfile(tests, target)  # pytest's own names each test
        else:
            target.write_text(FORMATS[kind](verdict), encoding="utf-8")
    if annotate and environment.get("GITHUB_ACTIONS") == "true":
        for line in github_commands(verdict):
            say(line)


def parse_report_request(request: str) -> tuple[str, Path]:
    """Format and path of `FORMAT=PATH`. Raises UsageError for another form, or a format that there is not."""
    kind, _, path = request.partition("=")
    if kind not in FORMATS or not path:
        raise UsageError(
            f"--report {request}: wanted is FORMAT=PATH",
            details=[f"formats: {', '.join(FORMATS)}"],
            next_step=f"--report sarif={WORK_FOLDER}/gate.sarif",
        )
    return kind, Path(path)


def write_report(verdict: Verdict, request: str) -> Path:
    """Write one report as `FORMAT=PATH` says. Raises UsageError for what can't be understood or written."""
    kind, target = parse_report_request(request)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(FORMATS[kind](verdict), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the report {target} can't be written: {error}", next_step="choose another path") from error
    return target
