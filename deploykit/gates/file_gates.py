"""What gates share that look at files of one kind, which a tree may not have at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploykit.model import Evidence, Finding, Outcome, Severity, UsageError, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


__all__ = ["require_files", "verdict_on_files"]


def require_files(files: Sequence[str], *, gate: str, what: str) -> Sequence[str]:
    """The files. Raises UsageError when there are none: nothing to judge is neither a pass nor a doubt."""
    if not files:
        raise UsageError(
            f"there is no {what} in this tree, so the gate {gate} has nothing to judge",
            next_step="invoke ci, which asks only the gates whose subject the tree has",
        )
    return files


def verdict_on_files(  # noqa: PLR0913 - the parts of a verdict, all by keyword
    gate: str,
    *,
    files: Sequence[str],
    findings: Sequence[Finding],
    tool: str,
    version: str,
    settings: Mapping[str, Any],
    notes: Sequence[str],
    next_step: str,
) -> Verdict:
    """The verdict on findings of which low ones are listed and fail nothing."""
    failing = [finding for finding in findings if finding.severity is not Severity.LOW]
    low = len(findings) - len(failing)
    reasons = [f"{len(failing)} findings"] if failing else []
    if low:
        reasons.append(f"{low} of low severity are listed and fail nothing")
    return Verdict(
        gate=gate,
        outcome=Outcome.FINDINGS if failing else Outcome.PASSED,
        evidence=Evidence(
            looked_at=len(files),
            unit="files",
            tool=tool,
            tool_version=version,
            settings=settings,
            notes=(f"files: {', '.join(files[:5])}", *notes),
        ),
        findings=tuple(sorted(findings, key=lambda one: (one.severity is Severity.LOW, one.path, one.line, one.rule))),
        reason="; ".join(reasons),
        next_step=next_step if failing else "",
    )
