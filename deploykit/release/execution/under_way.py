"""How far a rollout is, by its release's journal alone: for those who look at it from another terminal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.release.execution.journal import ReleaseJournal
from deploykit.release.execution.plan import recorded_plan
from deploykit.rollout import Kind, Observation, Plan, Result, Stage, State, fold

if TYPE_CHECKING:
    from deploykit.ledger.interface import Step
    from deploykit.ledger.sql import SqlLedger
    from deploykit.model import ReleaseRecord

__all__ = ["UnderWay", "read_under_way"]

_NO_TOKEN = 0
"""Nothing is written."""
_NUMBERED = re.compile(r"-(\d{1,2})$")
_DOING = {
    Kind.START: "its instances start",
    Kind.HEALTH: "it is waited for to be healthy",
    Kind.SMOKE: "it is tried before any user sees it",
    Kind.RAISE: "it gets its share of the traffic",
    Kind.LOWER: "it gets its share of the traffic",
    Kind.VERIFY: "it is judged",
    Kind.DRAIN: "requests in flight are waited for",
}


@dataclass(frozen=True, kw_only=True)
class UnderWay:
    """A rollout that has begun. `since`: when its present stage began, in seconds since the epoch. `undecided`: what
    its judge said last of the present step, where it could not decide.
    """

    release: ReleaseRecord
    state: State
    since: float
    undecided: str

    @property
    def plan(self) -> Plan:
        return self.state.plan

    @property
    def number(self) -> int:
        """Of the present stage, from 1."""
        return _number(self.state)

    @property
    def stage(self) -> Stage:
        return self.plan.stages[self.number - 1]

    @property
    def doing(self) -> str:
        """What happens now, as a clause of a sentence."""
        if self.state.undoing:
            return f"it is undone: {self.state.reason}" if self.state.reason else "it is undone"
        if self.state.past_verdict:
            return "it is finished"
        return _DOING.get(self.state.pending.kind, "it is prepared") if self.state.pending else "it has ended"


def read_under_way(ledger: SqlLedger, release: ReleaseRecord, environment: str) -> UnderWay | None:
    """None before the rollout began. Raises DeploykitError where the journal can't be read."""
    journal = ReleaseJournal(ledger, release.id, _NO_TOKEN)
    begun = journal.done("rollout")
    if begun is None:
        return None
    answered = [
        Observation(action=step.action.name, result=step.result, reason=step.reason)
        for step in journal.steps()
        if step.result is not None
    ]
    state = fold(recorded_plan(begun, environment), answered)
    of_stage = [step for step in ledger.steps(release.id) if _belongs(step, state)]
    last = answered[-1] if answered else None
    pending = last is not None and state.pending is not None and last.action == state.pending.name
    return UnderWay(
        release=release,
        state=state,
        since=(of_stage[0] if of_stage else begun).started_at,
        undecided=last.reason if last is not None and pending and last.result is Result.UNDECIDED else "",
    )


def _number(state: State) -> int:
    """Steps of a plan with several stages end with the stage's number; those between two stages belong to the first."""
    many = len(state.plan.stages)
    if state.undoing or many == 1:
        return 1
    for step in reversed(state.steps[: state.place + 1]):
        if found := _NUMBERED.search(step.name):
            return min(max(int(found[1]), 1), many)
    return 1


def _belongs(step: Step, state: State) -> bool:
    if "kind" not in step.action:
        return False
    found = _NUMBERED.search(step.name)
    return len(state.plan.stages) == 1 or (found is not None and int(found[1]) == _number(state))
