"""The journal of one release: its steps in the ledger, as stages of the workflow and as actions of the rollout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploykit.ledger.interface import Step, StepState
from deploykit.model import DeploykitError
from deploykit.rollout import Action, JournalledStep, Observation, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from deploykit.ledger.sql import SqlLedger

__all__ = ["ReleaseJournal"]


@dataclass(frozen=True)
class ReleaseJournal:
    """Journal of one release; `token` fences: a process that lost the lock can't write.

    Steps of the rollout have a `kind` in their action; stages (plan, build, migrate, rollout) do not.
    """

    ledger: SqlLedger
    release: str
    token: int

    # Stages of the workflow ----------------------------------------------------------------------------------------

    def once(self, name: str, action: Mapping[str, Any], act: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """The step's recorded result if it was done before; else intend, act, record."""
        if (step := self.done(name)) is not None:
            return step.result
        sequence = self.ledger.intend(self.release, name, action, token=self.token)
        try:
            result = act()
        except BaseException as error:
            message = getattr(error, "message", "") or getattr(error, "reason", "") or type(error).__name__
            self.ledger.result(sequence, StepState.FAILED, {"reason": message})
            raise
        self.ledger.result(sequence, StepState.DONE, result)
        return result

    def done(self, name: str) -> Step | None:
        """The newest step of that name that was done."""
        found = [step for step in self.ledger.steps(self.release) if step.name == name and step.state is StepState.DONE]
        return found[-1] if found else None

    # The rollout's journal -------------------------------------------------------------------------------------------

    def intend(self, action: Action) -> int:
        return self.ledger.intend(self.release, action.name, action.as_json(), token=self.token)

    def result(self, sequence: int, observation: Observation) -> None:
        state = StepState.DONE if observation.result is Result.DONE else StepState.FAILED
        self.ledger.result(
            sequence,
            state,
            {"result": observation.result.value, "reason": observation.reason, "data": dict(observation.data)},
        )

    def steps(self) -> Sequence[JournalledStep]:
        """Raises DeploykitError for one that this kit can't have written."""
        try:
            return [_journalled(step) for step in self.ledger.steps(self.release) if "kind" in step.action]
        except (KeyError, TypeError, ValueError) as error:
            raise DeploykitError(
                f"the journal of {self.release} can't be read: {type(error).__name__}: {error}",
                next_step="see what disagrees: `invoke history --check` with the same --env",
            ) from None


def _journalled(step: Step) -> JournalledStep:
    answered = step.state is not StepState.INTENDED
    return JournalledStep(
        action=Action.from_json(step.action),
        result=Result(step.result["result"]) if answered else None,
        reason=str(step.result.get("reason", "")) if answered else "",
    )
