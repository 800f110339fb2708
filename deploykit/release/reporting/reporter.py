"""What a release reports while it runs and when it has ended. How that is shown is up to `deploykit.tasks`."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from deploykit.model.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deploykit.release.reporting.live_view import LiveView

__all__ = ["ReleaseReport", "Reporter", "Stage", "Stages"]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage that ended. `outcome` is "done", "failed" or "cancelled"; `note` is its result in a few words."""

    name: str
    seconds: float
    outcome: str
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "seconds": round(self.seconds, 3), "outcome": self.outcome, "note": self.note}


@dataclass(frozen=True, kw_only=True)
class ReleaseReport:
    """The end of a release or rollback, as `--json` prints it.

    `live` is what the edge sends users to now (`1.2.0 (r7)`, empty: nothing does), `back_to` the version that
    `invoke rollback` would go to (empty: there is none). `kind` is "release" or "rollback". `method` is how a rollback
    got its version to users, and why.
    """

    outcome: str
    release: str
    app: str
    environment: str
    version: str
    digest: str
    url: str
    anchor: str
    stages: Sequence[Stage]
    reason: str = ""
    details: tuple[str, ...] = ()
    next_step: str = ""
    exit_code: int = 0
    warnings: tuple[str, ...] = ()
    kind: str = "release"
    live: str = ""
    back_to: str = ""
    method: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome,
            "kind": self.kind,
            "release": self.release,
            "app": self.app,
            "environment": self.environment,
            "version": self.version,
            "digest": self.digest,
            "url": self.url,
            "live": self.live,
            "back_to": self.back_to,
            "method": self.method,
            "anchor": self.anchor,
            "stages": [stage.as_json() for stage in self.stages],
            "reason": self.reason,
            "details": list(self.details),
            "next_step": self.next_step,
            "warnings": list(self.warnings),
        }


class Reporter(Protocol):
    """Shows what happens. Must not raise."""

    def stage_started(self, name: str) -> None: ...

    def stage_ended(self, stage: Stage) -> None: ...

    def note(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...

    def view(self, view: LiveView) -> None:
        """What a rollout does now; called about each second while a version is judged."""


@dataclass
class Stages:
    """Times the stages of one run, in the order in which they began."""

    reporter: Reporter
    clock: Callable[[], float] = time.monotonic
    check: Callable[[], None] = lambda: None
    """Called before each stage; may raise Cancelled."""
    done: list[Stage] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[list[str]]:
        """Time one stage. What the block puts into the list becomes the stage's note."""
        self.check()
        started = self.clock()
        note: list[str] = []
        outcome = "failed"
        try:
            self.reporter.stage_started(name)
            yield note
            outcome = "done"
        except Cancelled:
            outcome = "cancelled"
            raise
        finally:
            self.add(Stage(name=name, seconds=self.clock() - started, outcome=outcome, note="; ".join(note)))

    def add(self, stage: Stage) -> None:
        self.done.append(stage)
        self.reporter.stage_ended(stage)

    def note(self, text: str) -> None:
        self.reporter.note(text)

    def view(self, view: LiveView) -> None:
        self.reporter.view(view)

    def warn(self, text: str) -> None:
        self.warnings.append(text)
        self.reporter.warn(text)
