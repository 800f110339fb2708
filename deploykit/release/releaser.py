"""`invoke release` and `invoke rollback`: the environment's lock and the signals around the pipeline."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deploykit.model.errors import Cancelled, DeploykitError
from deploykit.release.locking import environment_lock
from deploykit.release.pipeline import Pipeline
from deploykit.release.reporter import ReleaseReport, Reporter, Stages
from deploykit.release.signals import listening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploykit.release.surroundings import Surroundings

__all__ = ["Releaser"]


@dataclass(kw_only=True)
class Releaser:
    """One run of a command that changes what has the traffic."""

    around: Surroundings
    reporter: Reporter
    ends_process: bool = False
    """Nothing but its report is to come after it in this process: signals that come late don't cut that short."""
    stages: Stages = field(init=False)

    def __post_init__(self) -> None:
        self.stages = Stages(self.reporter, check=self.around.cancellation.check)

    def release(self) -> ReleaseReport:
        """Put the present tree into the environment."""
        with self._holding("release") as pipeline:
            return pipeline.release()

    def resume(self) -> ReleaseReport:
        """Finish a release whose process was killed."""
        with self._holding("release --resume") as pipeline:
            return pipeline.resume()

    def rollback(self, to: str = "") -> ReleaseReport:
        """Give the traffic back to the version before, or to the one named."""
        with self._holding("rollback") as pipeline:
            return pipeline.rollback(to)

    @contextmanager
    def _holding(self, reason: str) -> Iterator[Pipeline]:
        """The environment's lock for the block, signals heard, and what is due done first."""
        around = self.around
        with listening(around.cancellation, self.stages.warn, ends_process=self.ends_process):
            try:
                with environment_lock(
                    around.ledger, around.target, reason, tell=self.stages.warn, lost=self._lock_lost
                ) as held:
                    try:
                        around.cancellation.check()
                        pipeline = Pipeline(
                            around=around,
                            reporter=self.reporter,
                            stages=self.stages,
                            token=held.token,
                        )
                        pipeline.begin(reason)
                        yield pipeline
                    finally:
                        around.cancellation.shield()
            except Cancelled as cancelled:
                raise DeploykitError(
                    f"{cancelled.reason}, before anything was begun",
                    next_step=f"invoke status --env {around.name}",
                ) from None

    def _lock_lost(self, error: DeploykitError) -> None:
        """From the heartbeat's thread: this process must not act any more. Its writes are refused by the token already."""
        self.stages.warn(f"the lock was lost: {error.message}")
        self.around.cancellation.cancel("cancelled, since the lock was lost")
