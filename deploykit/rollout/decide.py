"""A rollout as a pure state machine: `decide(state, observation) -> (state, actions)`. No I/O, no clock.

The plan's steps are the strategy (`stages.py`, `steps.py`); here is what is the same for all of them. A step that fails
before the version was judged good undoes the rollout. After its last judgement there is no way back inside the rollout
(that is `invoke rollback`): what is left is book-keeping, and it is finished. Of that, LIVE and WARM have to happen: a
rollout stays in them until they did. The others may fail.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deploykit.rollout.actions import Action, Kind, Observation, Result
from deploykit.rollout.steps import BOOK_KEEPING, MUST_HAPPEN, backward, forward

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deploykit.rollout.plan import Plan

__all__ = ["State", "begin", "decide", "fold"]


@dataclass(frozen=True, kw_only=True)
class State:
    """What is known so far: of `steps`, those before `place` are over. `undoing`: they lead back. `reason` says why it
    fails.
    """

    plan: Plan
    steps: tuple[Action, ...]
    place: int = 0
    undoing: bool = False
    reason: str = ""
    cancelled: bool = False

    @property
    def pending(self) -> Action | None:
        """The step that is asked for now; None when the rollout has ended."""
        return self.steps[self.place] if self.place < len(self.steps) else None

    @property
    def ended(self) -> bool:
        return self.pending is None

    @property
    def done(self) -> bool:
        """It has ended well: the new version has the traffic."""
        return self.ended and not self.undoing

    @property
    def failed(self) -> bool:
        """It has ended, and was undone."""
        return self.ended and self.undoing

    @property
    def past_verdict(self) -> bool:
        """The new version was judged good: what is left is book-keeping."""
        return not self.undoing and self.place >= self._verdict

    @property
    def _verdict(self) -> int:
        return next(place for place, step in enumerate(self.steps) if step.kind is Kind.LIVE)


def begin(plan: Plan) -> State:
    """The state of a rollout of which nothing happened yet, its first step pending."""
    return State(plan=plan, steps=forward(plan))


def decide(state: State, observation: Observation) -> tuple[State, tuple[Action, ...]]:
    """The next state and what to do in it. An observation of anything else than the pending step changes nothing,
    apart from a cancellation, which is heard at any time.
    """
    state = _next(state, observation)
    return state, (state.pending,) if state.pending is not None else ()


def fold(plan: Plan, observations: Iterable[Observation]) -> State:
    """The state that these observations lead to; how a killed rollout is taken up again from its journal."""
    state = begin(plan)
    for observation in observations:
        state, _ = decide(state, observation)
    return state


def _next(state: State, observation: Observation) -> State:
    pending = state.pending
    if pending is None:
        return state
    if observation.result is Result.CANCELLED:
        # Past the verdict the release stands; while it is being undone there is nothing more to cancel.
        stands = state.past_verdict or state.undoing
        return state if stands else _undo(replace(state, cancelled=True), observation.reason)
    if observation.action != pending.name or observation.result is Result.UNDECIDED:
        return state
    if observation.result is Result.FAILED:
        return _after_failure(state, pending, observation.reason)
    return replace(state, place=state.place + 1)


def _after_failure(state: State, failed: Action, reason: str) -> State:
    if not state.undoing and failed.kind in MUST_HAPPEN:
        return state
    if state.undoing or state.past_verdict:
        # No user is at risk if this step is left out, and its failure is in the journal: go on.
        return replace(state, place=state.place + 1, reason=state.reason or reason)
    if failed.kind in BOOK_KEEPING:
        return replace(state, place=state.place + 1)
    return _undo(state, reason)


def _undo(state: State, reason: str) -> State:
    return replace(state, steps=backward(state.plan, state.place), place=0, undoing=True, reason=reason)
