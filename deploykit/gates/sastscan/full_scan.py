"""The whole of bandit over every file, for the configurations that only it honours."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from deploykit.gates.sastscan.judge import concluded
from deploykit.gates.sastscan.rules import FAILING, SEVERITIES
from deploykit.gates.tooling import chunks, parse_json, run_tool, tool_environment
from deploykit.model import Evidence, Finding, Severity, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deploykit.gates.interface import GateContext
    from deploykit.gates.sastscan.configuration import Configuration

__all__ = ["interpret", "run_full_scan"]


def run_full_scan(
    context: GateContext,
    files: Sequence[str],
    configuration: Configuration,
    *,
    settings: Mapping[str, Any],
    notes: Sequence[str],
) -> Verdict:
    """Run bandit as anybody would, on every file by name, with the repo's configuration."""
    environment = tool_environment(context.environment)
    bandit = context.toolbox.tool("bandit")
    version = run_tool([*bandit, "--version"], root=context.root, environment=environment, answers=(0,))
    answers = [
        parse_json(
            run_tool(
                [*bandit, "-q", "-f", "json", *configuration.options, *(f"./{name}" for name in part)],
                root=context.root,
                environment=environment,
            )
        )
        for part in chunks(files)
    ]
    return interpret(
        answers,
        files=files,
        version=version.stdout.split()[1] if len(version.stdout.split()) > 1 else "",
        settings=settings,
        notes=notes,
        excludes_itself=configuration.excludes,
    )


def interpret(
    answers: Sequence[Mapping[str, Any]],
    *,
    files: Sequence[str],
    version: str,
    settings: Mapping[str, Any],
    notes: Sequence[str] = (),
    excludes_itself: bool = False,
) -> Verdict:
    """The verdict on bandit's answers about `files`: one that it skipped or could not parse makes it inconclusive.

    `excludes_itself`: the repo's bandit configuration leaves files out, so fewer scanned ones are what was asked for.
    """
    scanned = {posixpath.normpath(name) for answer in answers for name in answer["metrics"] if name != "_totals"}
    errors = {
        posixpath.normpath(error["filename"]): error["reason"] for answer in answers for error in answer["errors"]
    }
    suppressed = sum(answer["metrics"].get("_totals", {}).get("nosec", 0) for answer in answers)
    findings = sorted(
        (_finding(result) for answer in answers for result in answer["results"]),
        key=lambda finding: (finding.severity not in FAILING, finding.path, finding.line),
    )
    missed = [name for name in files if name not in scanned and name not in errors]
    if missed and excludes_itself:
        notes = (*notes, f"files left out by bandit's own configuration: {len(missed)}")
        missed = []
    evidence = Evidence(
        looked_at=len(scanned - set(errors)),
        unit="files",
        tool="bandit",
        tool_version=version,
        settings=settings,
        notes=(
            *notes,
            *((f"lines suppressed by nosec: {suppressed}",) if suppressed else ()),
            *(f"{name}: {reason}" for name, reason in sorted(errors.items())[:10]),
        ),
    )
    left_out = (
        f"bandit left out {len(missed)} files that it was given: {', '.join(missed[:5])}",
        "run `bandit -v` on one of them; files that need no look belong into security.sast_exclude",
    )
    return concluded(findings, evidence, unreadable=len(errors), missed=left_out if missed else None)


def _finding(result: Mapping[str, Any]) -> Finding:
    return Finding(
        rule=result["test_id"],
        message=result["issue_text"],
        path=posixpath.normpath(result["filename"]),
        line=result["line_number"],
        severity=SEVERITIES.get(result["issue_severity"], Severity.UNKNOWN),
    )
