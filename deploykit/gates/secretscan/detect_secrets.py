"""detect-secrets itself, for baselines with plug-ins or filters that the kit's engine does not have.

It looks at the files that the kit's engine has read as UTF-8 text; in others, and by the kit's own formats, the kit's
findings stand.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.gates.secretscan.findings import Secret
from deploykit.gates.secretscan.formats import FORMATS
from deploykit.gates.tooling import crashed, parse_json, run_tool, tool_environment
from deploykit.model import InconclusiveError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deploykit.gates.secretscan.baseline import Baseline
    from deploykit.gates.secretscan.scan import ScanReport

__all__ = ["ask_detect_secrets"]

_DRIVER = Path(__file__).parents[1] / "drivers" / "scan_secrets.py"
_OWN_TYPES = frozenset(rule.type for rule in FORMATS)
_SECONDS = 3600.0
_FILE = "file://"


def ask_detect_secrets(  # noqa: PLR0913 - what a program is run with, by keyword
    report: ScanReport,
    baseline: Baseline,
    *,
    root: Path,
    folder: Path,
    python: Path,
    environment: Mapping[str, str],
    processes: int,
) -> ScanReport:
    """The report with detect-secrets' findings in the files of `folder`, by all that the baseline asks for.

    `root` is what paths in the baseline are relative to, `python` has detect-secrets. Raises InconclusiveError when it
    can't load what the baseline asks for, or does not answer for every file.
    """
    task = {
        "files": list(report.scanned),
        "plugins": [_absolute(plugin, "path", root) for plugin in baseline.plugins],
        "filters": [_absolute(_absolute(item, "path", root), "file_name", root) for item in baseline.filters],
        "processes": processes,
    }
    completed = run_tool(
        [python, "-P", str(_DRIVER)],
        root=folder,
        environment=tool_environment(environment),
        answers=(0,),
        stdin=json.dumps(task),
        timeout=_SECONDS,
    )
    answer = parse_json(completed)
    if "refused" in answer:
        raise InconclusiveError(
            f"detect-secrets can't load what the baseline asks for: {', '.join(baseline.foreign)}",
            details=[answer["refused"]],
            next_step="fix the paths in plugins_used and filters_used of the baseline, or take those entries out",
        )
    answered = {*answer["secrets"], *answer["filtered"], *answer["unread"]}
    if missing := [name for name in report.scanned if name not in answered]:
        raise crashed(completed, f"detect-secrets left {len(missing)} files out, such as {missing[0]}")
    return _joined(report, answer)


def _joined(report: ScanReport, answer: Mapping[str, Any]) -> ScanReport:
    """The report with the findings of detect-secrets where it looked; its filters leave whole files out."""
    filtered = set(answer["filtered"])
    secrets = {name: found for name, found in report.secrets.items() if name not in filtered}
    for name, listed in answer["secrets"].items():
        own = [secret for secret in secrets.get(name, ()) if secret.type in _OWN_TYPES]
        secrets[name] = tuple(sorted({*own, *(Secret(int(line), kind, hashed) for line, kind, hashed in listed)}))
    return replace(
        report,
        secrets={name: secrets[name] for name in sorted(secrets) if secrets[name]},
        scanned=tuple(name for name in report.scanned if name not in filtered),
        recoded=tuple(name for name in report.recoded if name not in filtered),
        filtered=tuple(sorted({*report.filtered, *filtered})),
        only_by_kit=tuple(sorted(answer["unread"])),
    )


def _absolute(item: Mapping[str, Any], key: str, root: Path) -> dict[str, Any]:
    """The setting with the file that it names found from anywhere."""
    value = item.get(key)
    if not isinstance(value, str) or (key == "path" and not value.startswith(_FILE)):
        return dict(item)
    prefix = _FILE if value.startswith(_FILE) else ""
    return {**item, key: f"{prefix}{root / value.removeprefix(prefix)}"}
