"""The engine: journal the intent, act, journal the result, ask the strategy what is next.

It knows no target and no edge: a `Performer` acts, a `Journal` remembers. A rollout that was killed is taken up by
folding its journal through the same `decide`; the action without a result is performed again, which its idempotence
allows.
"""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from deploykit.model.errors import Cancelled, DeploykitError
from deploykit.rollout.actions import Action, Observation, Result
from deploykit.rollout.decide import State, decide, fold

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from deploykit.rollout.plan import Plan

__all__ = ["Cancelled", "Engine", "Journal", "JournalledStep", "Performer", "UndecidedError"]

_TRIES = 3
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class JournalledStep:
    """A step as the journal has it; `result` None: it was intended, and nothing more is known."""

    action: Action
    result: Result | None
    reason: str


class Journal(Protocol):
    """Durable memory of one rollout: an intent is on the disk when the call returns, a result with the next intent."""

    def intend(self, action: Action) -> int: ...

    def result(self, sequence: int, observation: Observation) -> None: ...

    def steps(self) -> Sequence[JournalledStep]: ...


class UndecidedError(DeploykitError):
    """Too little was seen to judge by. The message says how much, and what is waited for."""


class Performer(Protocol):
    """Does one action, looking first. Returns what is worth recording. Raises DeploykitError when it failed, and
    UndecidedError when it is to be asked again.
    """

    def perform(self, action: Action) -> Mapping[str, Any]: ...


class Engine:
    """Drives one rollout from its journal's present state to its end."""

    def __init__(  # noqa: PLR0913 - by keyword
        self,
        plan: Plan,
        journal: Journal,
        performer: Performer,
        *,
        check: Callable[[], None] = lambda: None,
        mask: Callable[[], None] = lambda: None,
        notice: Callable[[Action, Observation], None] = lambda _action, _observation: None,
        starting: Callable[[Action], None] = lambda _action: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`check` is called before each action, and raises Cancelled. `mask` is called once when the rollout starts
        to undo itself or is past its verdict: from then on neither `check` nor an action raises that. `starting` and
        `notice` tell of each action, before and after. `sleep` waits so many seconds before an action that has to
        happen is tried again.
        """
        self._plan = plan
        self._journal = journal
        self._performer = performer
        self._check = check
        self._mask = mask
        self._notice = notice
        self._starting = starting
        self._sleep = sleep
        self._failed: dict[str, int] = {}
        self.failure: DeploykitError | None = None
        """What the rollout failed of."""
        self.undo_failure: DeploykitError | None = None
        """The first step of undoing it that failed; the others were done."""

    def state(self) -> State:
        """Where the journal says the rollout is."""
        answered = [
            Observation(action=step.action.name, result=step.result, reason=step.reason)
            for step in self._journal.steps()
            if step.result is not None
        ]
        return fold(self._plan, answered)

    def drive(self) -> State:
        """Go on from where the journal is until the rollout is done or undone.

        Raises DeploykitError when it can't be ended now: the journal can't be written, or an action fails that has to
        happen. The journal then says how far it is.
        """
        return self._loop(self.state())

    def undo(self, reason: str) -> State:
        """Undo the rollout from where the journal is; past its verdict it is finished instead. Raises as `drive`."""
        return self._loop(self._cancel(self.state(), reason))

    def _loop(self, state: State) -> State:
        masked = False
        while (pending := state.pending) is not None:
            if (state.undoing or state.past_verdict) and not masked:
                self._mask()
                masked = True
            try:
                self._check()
                state = self._step(state, pending)
            except Cancelled as cancelled:
                self._mask()
                masked = True
                # What was done meanwhile is in the journal.
                state = self._cancel(self.state(), cancelled.reason)
        return state

    def _step(self, state: State, action: Action) -> State:
        self._starting(action)
        sequence = self._journal.intend(action)
        failed: DeploykitError | None = None
        try:
            data = self._performer.perform(action)
        except UndecidedError as undecided:
            observation = Observation(action=action.name, result=Result.UNDECIDED, reason=undecided.message)
        except Exception as raised:  # noqa: BLE001 - whatever it is, users must not be left half way
            failed = raised if isinstance(raised, DeploykitError) else _unforeseen(action, raised)
            observation = Observation(
                action=action.name,
                result=Result.FAILED,
                reason=failed.message,
                data={"details": list(failed.details), "next_step": failed.next_step},
            )
        else:
            observation = Observation(action=action.name, result=Result.DONE, data=data)
        self._journal.result(sequence, observation)
        self._notice(action, observation)
        after = decide(state, observation)[0]
        if failed is not None:
            if state.undoing:
                self.undo_failure = self.undo_failure or failed
            elif after.undoing:
                self.failure = failed
            elif after.pending == action:
                self._before_next_try(action, failed)
        return after

    def _before_next_try(self, action: Action, error: DeploykitError) -> None:
        """Wait before an action that has to happen is tried again; raises the error after the last try."""
        self._failed[action.name] = tries = self._failed.get(action.name, 0) + 1
        if tries == _TRIES:
            raise error
        self._sleep(_PAUSE_SECONDS)

    def _cancel(self, state: State, reason: str) -> State:
        """Put the cancellation on the record, so that a fold of the journal takes the same turn."""
        pending = state.pending
        if pending is None or state.past_verdict or state.undoing:
            return state
        observation = Observation(action=pending.name, result=Result.CANCELLED, reason=reason)
        self._journal.result(self._journal.intend(pending), observation)
        self._notice(pending, observation)
        return decide(state, observation)[0]


def _unforeseen(action: Action, error: Exception) -> DeploykitError:
    """An error that nobody made a sentence of: a full disk, or a mistake of the kit. Its whole trace is the details."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    return DeploykitError(f"{action.name} failed: {type(error).__name__}: {error}", details=lines)
