"""One verdict on several gates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.model import Evidence, Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SECURITY_GATES", "combine"]

SECURITY_GATES = ("sast", "audit", "secrets")


def combine(
    name: str, verdicts: Sequence[Verdict], *, wanted: Sequence[str] = SECURITY_GATES, tree: str = ""
) -> Verdict:
    """The verdict `name` on the gates `wanted`. A missing verdict, or one about another tree, makes it inconclusive.

    The evidence has a line for each gate; the findings are those of all gates.
    """
    by_gate = {verdict.gate: verdict for verdict in verdicts}
    missing = [gate for gate in wanted if gate not in by_gate]
    foreign = [gate for gate in wanted if gate in by_gate and by_gate[gate].tree != tree]
    present = [by_gate[gate] for gate in wanted if gate in by_gate]
    outcomes = [verdict.outcome for verdict in present]
    if missing or foreign:
        outcomes.append(Outcome.INCONCLUSIVE)
    outcome = Outcome.worst(outcomes)
    reasons = [
        f"{verdict.gate} {verdict.outcome.value}" for verdict in present if verdict.outcome is not Outcome.PASSED
    ]
    reasons += [f"{gate} was not run" for gate in missing]
    reasons += [f"{gate} judged another tree" for gate in foreign]
    to_run = [*missing, *foreign]
    unresolved = [verdict for verdict in present if verdict.outcome is outcome and verdict.next_step]
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
        next_step=unresolved[0].next_step if unresolved else f"nox -s {to_run[0]}" if to_run else "",
        tree=tree,
    )


def _line(verdict: Verdict) -> str:
    evidence = verdict.evidence
    seen = f"{evidence.looked_at} {evidence.unit}, {evidence.tool} {evidence.tool_version}"
    line = f"{verdict.gate}: {verdict.outcome.value} ({seen})"
    return f"{line}: {verdict.reason}" if verdict.reason and verdict.outcome is not Outcome.PASSED else line
