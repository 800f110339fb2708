"""The coverage gate: combine the data of the test sessions, write the reports, and only then judge.

Judged are the total, the packages that the settings name, and the lines changed since the base.

Data that nobody vouches for are no evidence: each folder must be named by a passed verdict about exactly this tree.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.gates.coverage.diff import changes_since
from deploykit.gates.coverage.figures import Share, as_markdown, changed_share, package_shares
from deploykit.gates.coverage.minimum import CoverageMinimum, select_minimum
from deploykit.gates.coverage_settings import read_coverage_settings
from deploykit.gates.files import fingerprint
from deploykit.gates.test import data_fingerprint
from deploykit.gates.tooling import last_lines, run_tool, tool_environment
from deploykit.gates.verdict_files import read_verdict
from deploykit.model import Evidence, Finding, InconclusiveError, Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deploykit.gates.interface import GateContext

__all__ = ["CoverageGate", "interpret", "why_unusable"]


@dataclass(frozen=True, kw_only=True)
class CoverageGate:
    """The total is compared with the minimum of those test gates whose data count; a higher `fail_under` in the repo's
    own coverage configuration goes before it.

    `changed_minimum` is wanted of the lines changed since `base` (0: not judged unless a base is given on the command
    line, and then the total's holds); `packages` are minimums of single packages.
    `required` are the test gates whose data there must be; those of others are added when they are of the same tree and
    the minimum is one of theirs, too.
    """

    minimums: tuple[CoverageMinimum, ...] = (CoverageMinimum(minimum=80.0),)
    changed_minimum: float = 0.0
    packages: Mapping[str, float] = field(default_factory=dict)
    base: str = ""
    required: tuple[str, ...] = ("test",)
    name: str = "coverage"

    def run(self, context: GateContext) -> Verdict:
        selected, folders, notes = self._measured(context)
        files = sorted(str(path) for folder in folders for path in folder.iterdir() if path.is_file())
        combined = context.work / "coverage-combined"
        if combined.exists():
            shutil.rmtree(combined)
        combined.mkdir(parents=True)
        context.reports.mkdir(exist_ok=True)
        environment = tool_environment(context.environment, project=context.work)
        coverage = [str(context.toolbox.python()), "-m", "coverage"]
        data = f"--data-file={combined / 'data'}"

        def ask(*words: str) -> str:
            completed = run_tool(
                [*coverage, *words], root=context.root, environment=environment, answers=range(-64, 256)
            )
            if completed.returncode != 0:
                raise InconclusiveError(
                    f"coverage {words[0]} gave no answer (exit code {completed.returncode})",
                    details=last_lines(completed),
                    next_step=self._again,
                )
            return completed.stdout

        version = ask("--version").split("version ")[-1].split()[0]
        ask("combine", "--keep", data, *files)
        reports = context.reports
        ask("xml", data, "--fail-under=0", "-q", "-o", str(reports / "coverage.xml"))
        ask("json", data, "--fail-under=0", "-q", "-o", str(reports / "coverage-data.json"))
        ask("html", data, "--fail-under=0", "-q", "-d", str(reports / "coverage-html"))
        table = ask("report", data, "--fail-under=0", "--skip-covered", "--show-missing")
        (reports / "coverage.txt").write_text(table, encoding="utf-8")
        context.on_line(table.rstrip())
        own = read_coverage_settings(context).fail_under
        minimum = max(selected.minimum, own)
        if own > selected.minimum:
            notes.append(f"the repo's own coverage configuration wants {own:g} %")
        report = _read(reports / "coverage-data.json")
        total = _total(report, minimum)
        page = reports / "coverage.md"
        page.write_text(as_markdown([total]), encoding="utf-8")  # also when the base can't be found below
        parts, more = self._parts(context, report, minimum)
        page.write_text(as_markdown([total, *(share for _, share in parts)]), encoding="utf-8")
        if summary := context.environment.get("GITHUB_STEP_SUMMARY"):
            with Path(summary).open("a", encoding="utf-8") as stream:
                stream.write(page.read_text(encoding="utf-8"))
        return interpret(report, minimum=minimum, version=version, notes=[*notes, *more], parts=parts)

    def _parts(
        self, context: GateContext, report: Mapping[str, Any], minimum: float
    ) -> tuple[list[tuple[str, Share]], list[str]]:
        """What is judged beside the total, each with its rule, and what is to be said of it."""
        parts = [("coverage-package", share) for share in package_shares(report, self.packages)]
        notes: list[str] = []
        if context.base or self.changed_minimum:
            changes = changes_since(context.root, context.base or self.base)
            wanted = self.changed_minimum or minimum
            share, unmeasured = changed_share(report, changes, wanted=wanted)
            parts.append(("coverage-changed", share))
            notes.append(f"changed since {changes.base} ({changes.commit[:12]}): {len(changes.lines)} Python files")
            if unmeasured:
                shown = ", ".join(unmeasured[:5])
                notes.append(f"changed files that coverage does not measure: {len(unmeasured)} ({shown})")
        return parts, notes

    @property
    def _again(self) -> str:
        return f"nox -s {' '.join(self.required)} coverage"

    def _measured(self, context: GateContext) -> tuple[CoverageMinimum, list[Path], list[str]]:
        """The minimum, the folders of the data that it applies to, and notes on all data."""
        home = context.work / "coverage"
        for gate in self.required:
            if why := _problem_with(context, gate):
                raise InconclusiveError(f"there is no coverage to judge: {why}", next_step=self._again)
        others = sorted(path.name for path in home.iterdir() if path.is_dir() and path.name not in self.required)
        doubts = {gate: why for gate in others if (why := _problem_with(context, gate))}
        measured = [*self.required, *(gate for gate in others if gate not in doubts)]
        selected = select_minimum(self.minimums, measured=measured, required=self.required)
        counted = [gate for gate in measured if not selected.sessions or gate in selected.sessions]
        alone = f"the minimum is that of {' and '.join(selected.sessions)}"
        doubts |= dict.fromkeys((gate for gate in measured if gate not in counted), alone)
        notes = [f"data of {gate}" for gate in counted]
        notes += [f"data of {gate} are left out: {why}" for gate, why in sorted(doubts.items())]
        return selected, [home / gate for gate in counted], notes


def _problem_with(context: GateContext, gate: str) -> str:
    verdict = read_verdict(context.root, gate)
    actual = data_fingerprint(context.work / "coverage" / gate)
    files = "" if context.tree or verdict is None else fingerprint(context.root)
    return why_unusable(verdict, gate=gate, tree=context.tree, files=files, data=actual)


def why_unusable(verdict: Verdict | None, *, gate: str, tree: str, files: str, data: str) -> str:
    """Why the data of `gate` prove nothing about this tree; empty when they do.

    `tree` (or, outside git, `files`) is the state of the tree now, `data` the fingerprint of the data that lie there.
    """
    if verdict is None:
        return f"{gate} was not run"
    if verdict.outcome is not Outcome.PASSED:
        return f"{gate} ended with {verdict.outcome.value}"
    if verdict.tree != tree or (not tree and verdict.evidence.settings.get("files") != files):
        return f"{gate} looked at another state of the tree"
    if not data:
        return f"{gate} left no coverage data"
    if verdict.evidence.settings.get("coverage_data") != data:
        return f"the data are not those of the last run of {gate}"
    return ""


def interpret(
    report: Mapping[str, Any],
    *,
    minimum: float,
    version: str,
    notes: Sequence[str] = (),
    parts: Sequence[tuple[str, Share]] = (),
) -> Verdict:
    """The verdict on `coverage json`. The total is compared unrounded, and shown rounded down.

    `parts` are shares judged beside the total, each with the rule of its findings.
    """
    totals, files = report["totals"], report["files"]
    evidence = Evidence(
        looked_at=len(files) if totals["num_statements"] else 0,
        unit="files",
        tool="coverage",
        tool_version=version,
        settings={
            "minimum": f"{minimum:g} %",
            "branches": "measured" if report.get("meta", {}).get("branch_coverage") else "not measured",
        },
        notes=(*notes, "reports: .deploykit/reports/coverage.txt, .xml, .md, coverage-html/index.html"),
    )
    if not evidence.looked_at:
        raise InconclusiveError(
            "the coverage data name no statement of the project",
            next_step="say what is measured: coverage.source in [tool.deploykit], or source in [tool.coverage.run]",
        )
    percent = float(totals["percent_covered"])
    shown = f"{math.floor(percent * 100) / 100:.2f} % of {totals['num_statements']} statements"
    judged = [f"{shown}, at least {minimum:g} % wanted"]
    judged += [f"{share.what}: {share.shown}" if share.total else f"{share.what}: none" for _, share in parts]
    findings = [] if percent >= minimum else _insufficient(files, f"{shown}, and at least {minimum:g} % is wanted")
    for rule, share in parts:
        findings += share.findings(rule)
    return Verdict(
        gate="coverage",
        outcome=Outcome.FINDINGS if findings else Outcome.PASSED,
        evidence=evidence,
        findings=tuple(findings),
        reason="; ".join(judged),
        next_step="test the lines that .deploykit/reports/coverage.txt names" if findings else "",
    )


def _insufficient(files: Mapping[str, Any], text: str) -> list[Finding]:
    """The total, and the files of which most lines never ran."""
    worst = sorted(files.items(), key=lambda item: -item[1]["summary"]["missing_lines"])[:10]
    findings = [Finding(rule="coverage", message=text)]
    return findings + [
        Finding(
            rule="coverage-file",
            message=f"{file['summary']['missing_lines']} of {file['summary']['num_statements']} statements never ran",
            path=name,
            line=file["missing_lines"][0] if file["missing_lines"] else 0,
        )
        for name, file in worst
        if file["summary"]["missing_lines"]
    ]


def _total(report: Mapping[str, Any], minimum: float) -> Share:
    totals = report["totals"]
    return Share(
        what="total",
        covered=totals["covered_lines"] + totals.get("covered_branches", 0),
        total=totals["num_statements"] + totals.get("num_branches", 0),
        wanted=minimum,
        missing={},
    )


def _read(path: Path) -> Mapping[str, Any]:
    import json

    content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
