"""Work that is due later and is done first by the next command: warm versions whose window is over, events for the
board.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.ledger.interface import ENDING, WARM, LockHeld
from deploykit.model.errors import DeploykitError, UsageError
from deploykit.release.environment.lock import environment_lock
from deploykit.release.housekeeping.board_events import deliver
from deploykit.release.version.recorded import rollback_target, stop_timeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploykit.ledger.interface import Timer
    from deploykit.release.environment import Environment

__all__ = ["Reaped", "prune", "reap", "reap_now"]


@dataclass(frozen=True, kw_only=True)
class Reaped:
    """What was done, one sentence each, and what could not be."""

    done: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def reap_now(environment: Environment) -> Reaped:
    """Do what is due, under the environment's lock. Where it is taken, its holder does that anyway."""
    try:
        with environment_lock(environment.ledger, environment.target, "reap"):
            due, old = reap(environment), prune(environment)
            return Reaped(done=due.done + old.done, problems=due.problems + old.problems)
    except LockHeld as held:
        return Reaped(problems=(f"{held.message} Its holder does what is due.",))


def reap(environment: Environment, *, events: bool = True, clock: Callable[[], float] = time.time) -> Reaped:
    """Do what is due. Call it with the environment's lock held. `clock` is Unix time in seconds.

    `events`: also send events to the board. A board that does not answer is asked once; the other events wait.
    """
    done: list[str] = []
    problems: list[str] = []
    now = clock()
    for timer in environment.ledger.timers():
        if timer.due_at > now:
            continue
        try:
            if timer.kind in ENDING:
                done.append(_end_instances(environment, timer))
            elif timer.kind == "report" and events:
                deliver(environment, timer)
                done.append(f"{timer.release}: reported to the board")
        except DeploykitError as error:
            problems.append(error.message)
            events = events and timer.kind != "report"
    return Reaped(done=tuple(done), problems=tuple(problems))


def prune(environment: Environment) -> Reaped:
    """Remove artefacts that are no longer needed from a target that other machines share.

    Call it with the lock held.
    """
    if not environment.hosting.shared:
        return Reaped()
    try:
        return Reaped(done=tuple(environment.hosting.prune(_digests_to_keep(environment))))
    except DeploykitError as error:
        return Reaped(problems=(error.message,))
    except Exception as error:  # noqa: BLE001 - tidying up must not fail a release
        return Reaped(problems=(f"old images were not removed: {type(error).__name__}: {error}",))


def _digests_to_keep(environment: Environment) -> set[str]:
    """Digests of what is live, of what was before it, of what a rollback goes to, and of what has not ended."""
    ledger = environment.ledger
    records = [ledger.live(), ledger.unfinished()]
    records += [ledger.release(record.previous) for record in records if record is not None and record.previous]
    with contextlib.suppress(UsageError):
        records.append(rollback_target(ledger, environment.name, "", environment.paths.values))
    return {record.digest for record in records if record is not None and record.digest}


def _end_instances(environment: Environment, timer: Timer) -> str:
    """Stop the instances that the timer names, unless their version has the traffic again after a rollback."""
    edge, target = environment.edge, environment.target
    servers = {state.server.name: state for state in edge.servers()} if edge.running() else {}
    of_release = [instance for instance in target.instances() if instance.labels.release == timer.release]
    if any(each.name in servers and servers[each.name].weight > 0 for each in of_release):
        environment.ledger.remove_timer(timer.id)
        return f"{timer.release} has the traffic again: it stays"
    for each in of_release:
        if each.name not in timer.payload.get("instances", ()):
            continue
        if each.name in servers:
            edge.detach(each.name, force=True)
        target.stop(each.name, timeout=stop_timeout(environment.ledger, environment.name, each))
    environment.ledger.remove_timer(timer.id)
    why = "its warm window is over, it was stopped" if timer.kind == WARM else "what could not be ended was stopped"
    return f"{timer.release}: {why}"
