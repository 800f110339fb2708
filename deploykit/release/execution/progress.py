"""Turns the rollout's actions into the stages that a person follows: start, switch, verify, record, restore."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from deploykit.release.reporting.reporter import Stage, Stages
from deploykit.rollout import Action, Observation, Result

if TYPE_CHECKING:
    from types import TracebackType


__all__ = ["StageProgress"]

_STAGE_OF = {
    **dict.fromkeys(("maintenance", "lower-old", "drain-old", "detach-old", "stop-old"), "stop"),
    **dict.fromkeys(("start", "health", "smoke"), "start"),
    **dict.fromkeys(("trust", "edge", "attach", "lease", "raise", "lower", "open", "routes"), "switch"),
    **dict.fromkeys(("verify", "unlease"), "verify"),
    **dict.fromkeys(("live", "clear-routes", "drain", "warm", "retire"), "record"),
}
_NUMBERED = re.compile(r"(.*)-([0-9]+)")


def _stage_of(action: Action) -> str:
    """`switch 2` in the second of several stages."""
    numbered = _NUMBERED.fullmatch(action.name)
    name, number = numbered.groups() if numbered is not None else (action.name, "")
    stage = _STAGE_OF.get(name)
    return "restore" if stage is None else f"{stage} {number}".strip()


@dataclass
class StageProgress:
    """Opens a stage at its first action and closes it when the next stage begins, or at the end of the block."""

    stages: Stages
    name: str = ""
    started: float = 0.0
    outcome: str = "done"
    notes: list[str] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)
    """Actions of the stage that failed, and were not done by a later try."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.outcome = "failed"
        self._close()

    def starting(self, action: Action) -> None:
        stage = _stage_of(action)
        # A lease has no number: it is part of what is being done.
        if stage == self.name or self.name.startswith(f"{stage} "):
            return
        self._close()
        self.name, self.started, self.outcome, self.notes = stage, time.monotonic(), "done", []
        self.failed.clear()
        self.stages.reporter.stage_started(stage)

    def noticed(self, action: Action, observation: Observation) -> None:
        if observation.result is Result.CANCELLED:
            self.outcome = "cancelled"
            self.notes.append(observation.reason)
        elif observation.result is Result.UNDECIDED:
            self.stages.note(observation.reason)
        elif observation.result is Result.FAILED:
            self.failed.add(action.name)
            self.notes.append(observation.reason)
        else:
            self.failed.discard(action.name)
            if note := observation.data.get("note"):
                self.notes.append(str(note))

    def _close(self) -> None:
        if self.name:
            if self.failed and self.outcome == "done":
                self.outcome = "failed"
            self.stages.add(
                Stage(
                    name=self.name,
                    seconds=time.monotonic() - self.started,
                    outcome=self.outcome,
                    note="; ".join(self.notes),
                )
            )
        self.name = ""
