"""`invoke down`: stop all that runs of an app in an environment."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from deploykit.ledger.interface import ENDING
from deploykit.model import DeploykitError
from deploykit.release.environment.lock import environment_lock
from deploykit.release.environment.tree_data import reject_loss_by_down
from deploykit.release.version.recorded import stop_timeout

if TYPE_CHECKING:
    from deploykit.release.environment import Environment

__all__ = ["take_down"]


def take_down(environment: Environment, *, discard_data: bool = False) -> list[str]:
    """Stop what runs, under the environment's lock. Returns what was done, one sentence each.

    Raises UsageError where files would be gone that what runs wrote into its own tree, unless `discard_data`.
    """
    done: list[str] = []
    edge, target = environment.edge, environment.target
    with environment_lock(environment.ledger, target, "down", warn=done.append):
        if not discard_data:
            reject_loss_by_down(environment)
        instances = target.instances()
        running = edge.running()
        edge.down()  # one that does not answer may still hold the port: a killed command leaves it so
        if running:
            with contextlib.suppress(DeploykitError):
                # A configuration that can't be read must not keep anything from being stopped.
                edge.clear()
            done.append("the edge was stopped")
        for instance in instances:
            target.stop(instance.name, timeout=stop_timeout(environment.ledger, environment.name, instance))
            done.append(f"{instance.name} ({instance.labels.version}) was stopped")
        for timer in environment.ledger.timers():
            if timer.kind in ENDING:
                environment.ledger.remove_timer(timer.id)
        target.down()
        if environment.hosting.kind == "process":
            done.append("the supervisor, and what else it ran, was stopped")
    target.remove_lock()
    return done
