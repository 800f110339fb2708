"""Findings at their lines in a pull or merge request: GitHub's workflow commands, GitLab's code quality report."""

from __future__ import annotations

from typing import Any

from deploykit.gates.reports.common import failing, fingerprints, place, was_judged
from deploykit.model import Finding, Severity, Verdict
from deploykit.model.printable import printable

__all__ = ["as_gitlab", "github_commands"]

_SHOWN = 10  # GitHub shows so many errors, and so many warnings, of one step
_GITLAB = {
    Severity.LOW: "minor",
    Severity.MODERATE: "major",
    Severity.HIGH: "critical",
    Severity.CRITICAL: "blocker",
    Severity.UNKNOWN: "major",
}


def github_commands(verdict: Verdict) -> list[str]:
    """Lines that GitHub Actions turns into annotations when a step prints them."""
    commands = []
    if not was_judged(verdict):
        title = f"{verdict.gate}: {verdict.outcome.value}"
        commands.append(f"::error title={_property(title)}::{_data(verdict.reason or title)}")
    errors = failing(verdict)
    warnings = [finding for finding in verdict.findings if finding not in errors]
    for kind, findings in (("error", errors), ("warning", warnings)):
        commands += [_command(kind, verdict.gate, finding) for finding in findings[:_SHOWN]]
    return commands


def _command(kind: str, gate: str, finding: Finding) -> str:
    where = f"file={_property(finding.path)},line={max(finding.line, 1)}," if finding.path else ""
    return f"::{kind} {where}title={_property(f'{gate} {finding.rule}')}::{_data(finding.message)}"


def _data(text: str) -> str:
    return printable(text, keep="\n").replace("%", "%25").replace("\n", "%0A")


def _property(text: str) -> str:
    return printable(text).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")


def as_gitlab(verdict: Verdict) -> list[dict[str, Any]]:
    """GitLab's code quality report. It has no word for a gate that could not judge, so that becomes a blocker."""
    report = []
    for finding, name in zip(verdict.findings, fingerprints(verdict.gate, verdict.findings), strict=True):
        path, line = place(finding)
        report.append(
            {
                "description": printable(finding.message or finding.rule),
                "check_name": f"{verdict.gate}/{finding.rule}",
                "fingerprint": name,
                "severity": _GITLAB[finding.severity],
                "location": {"path": path, "lines": {"begin": line}},
            }
        )
    if not was_judged(verdict):
        from deploykit.model import Finding

        doubt = Finding(rule=verdict.outcome.value, message=verdict.reason or verdict.outcome.value)
        path, line = place(doubt)
        report.append(
            {
                "description": printable(f"{verdict.gate} gave no answer: {doubt.message}"),
                "check_name": f"{verdict.gate}/{doubt.rule}",
                "fingerprint": fingerprints(verdict.gate, [doubt])[0],
                "severity": "blocker",
                "location": {"path": path, "lines": {"begin": line}},
            }
        )
    return report
