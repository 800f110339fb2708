"""What `release`, `rollback` and `release --resume` have in common: the environment's lock, signals, and work that is
due.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.model.errors import Cancelled, DeploykitError
from deploykit.release.environment.trust import verified_lock
from deploykit.release.housekeeping.reap import reap
from deploykit.release.reporting.reporter import Reporter, Stages
from deploykit.release.workflow.signals import listening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploykit.release.environment import Environment

__all__ = ["Run", "do_what_is_due", "exclusive"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A command that changes what has the traffic.

    `token` proves to the ledger that it holds the environment's lock.
    """

    environment: Environment
    stages: Stages
    token: int


@contextmanager
def exclusive(
    environment: Environment, reporter: Reporter, command: str, *, ends_process: bool = False
) -> Iterator[Run]:
    """Hold the environment's lock for the block. Signals and the loss of the lock cancel the block.

    `ends_process`: the process ends after the block, see `signals.listening`.
    Raises DeploykitError when somebody else holds the lock, the ledger does not hold, or the block was cancelled before
    it changed anything.
    """
    cancellation = environment.cancellation
    stages = Stages(reporter, check=cancellation.check)

    def lock_lost() -> None:
        # Writes are refused by the token already.
        cancellation.cancel("cancelled, since the lock was lost")

    with listening(cancellation, stages.warn, ends_process=ends_process):
        try:
            with verified_lock(environment, command, warn=stages.warn, lost=lock_lost) as held:
                try:
                    cancellation.check()
                    yield Run(environment=environment, stages=stages, token=held.token)
                finally:
                    cancellation.mask()
        except Cancelled as cancelled:
            raise DeploykitError(
                f"{cancelled.reason}, before anything was begun",
                next_step=f"invoke status --env {environment.name}",
            ) from None


def do_what_is_due(run: Run, *, events: bool = True) -> None:
    """Stop warm versions whose window is over, and send `events` that the board has not got."""
    for problem in reap(run.environment, events=events).problems:
        run.stages.warn(problem)
