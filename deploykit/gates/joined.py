"""One outcome of several gates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.model import Evidence, Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SECURITY_GATES", "join"]

SECURITY_GATES = ("sast", "audit", "secrets")


def join(name: str, verdicts: Sequence[Verdict], *, wanted: Sequence[str] = SECURITY_GATES, tree: str = "") -> Verdict:
    """The verdict `name` over the gates `wanted`: a missing one, or one about another tree, is inconclusive.

    The evidence of each is kept as a line; the findings are all of theirs.
    """
    by_gate = {verdict.gate: verdict for verdict in verdicts}
    missing = [gate for gate in wanted if gate not in by_gate]
    strange = [gate for gate in wanted if gate in by_gate and by_gate[gate].tree != tree]
    present = [by_gate[gate] for gate in wanted if gate in by_gate]
    outcomes = [verdict.outcome for verdict in present]
    if missing or strange:
        outcomes.append(Outcome.INCONCLUSIVE)
    outcome = Outcome.worst(outcomes)
    reasons = [
        f"{verdict.gate} {verdict.outcome.value}" for verdict in present if verdict.outcome is not Outcome.PASSED
    ]
    reasons += [f"{gate} was not run" for gate in missing]
    reasons += [f"{gate} judged another tree" for gate in strange]
    again = [*missing, *strange]
    open_ones = [verdict for verdict in present if verdict.outcome is outcome and verdict.next_step]
    return Verdict(
        gate=name,
        outcome=outcome,
        evidence=Evidence(
            looked_at=len(present),
            unit="gates",
            tool="deploykit",
            tool_version="",
            seconds=sum(verdict.evidence.seconds for verdict in present),
            notes=tuple(_line(verdict) for verdict in present),
        ),
        findings=tuple(finding for verdict in present for finding in verdict.findings),
        reason="; ".join(reasons),
        next_step=open_ones[0].next_step if open_ones else f"nox -s {again[0]}" if again else "",
        tree=tree,
    )


def _line(verdict: Verdict) -> str:
    evidence = verdict.evidence
    line = f"{verdict.gate}: {verdict.outcome.value} ({evidence.looked_at} {evidence.unit}, {evidence.tool} {evidence.tool_version})"
    return f"{line}: {verdict.reason}" if verdict.reason and verdict.outcome is not Outcome.PASSED else line
