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
from deploykit.release.environment.trust import verified_lock
from deploykit.release.housekeeping.board_events import deliver
from deploykit.release.reporting.text import requests_on
from deploykit.release.version.recorded import good_releases, other_version_before, rollback_target, stop_timeout
from deploykit.release.version.values import remove_values

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploykit.ledger.interface import Timer
    from deploykit.model import ReleaseRecord
    from deploykit.release.environment import Environment

__all__ = ["KEPT_RELEASES", "Reaped", "prune", "reap", "reap_now"]

KEPT_RELEASES = 10
"""So many of the newest good releases of an environment can be gone back to, and from each to the one before it."""


@dataclass(frozen=True, kw_only=True)
class Reaped:
    """What was done, one sentence each, and what could not be."""

    done: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def reap_now(environment: Environment) -> Reaped:
    """Do what is due, under the environment's lock. Where it is taken, its holder does that anyway."""
    try:
        with verified_lock(environment, "reap"):
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
                done.append(deliver(environment, timer))
        except DeploykitError as error:
            problems.append(error.message)
            events = events and timer.kind != "report"
    return Reaped(done=tuple(done), problems=tuple(problems))


def prune(environment: Environment) -> Reaped:
    """Remove the artefacts and variables of releases that can't be gone back to any more.

    Call it with the lock held.
    """
    try:
        needed, recent = _needed_releases(environment), _recent_releases(environment)
        # An engine keeps some of the newest images by itself (setting `image.keep`).
        records = needed if environment.hosting.shared else [*needed, *recent]
        done = environment.hosting.prune({record.digest for record in records if record.digest})
        ids = {record.id for record in (*needed, *recent)}
        for folder in (environment.paths.values, environment.paths.released):
            # What another ledger has released stays: it is not known whether that needs its variables.
            remove_values(folder, lambda name: name in ids or environment.ledger.release(name) is None)
        return Reaped(done=tuple(done))
    except DeploykitError as error:
        return Reaped(problems=(error.message,))
    except Exception as error:  # noqa: BLE001 - tidying up must not fail a release
        return Reaped(problems=(f"old artefacts were not removed: {type(error).__name__}: {error}",))


def _needed_releases(environment: Environment) -> list[ReleaseRecord]:
    """What is live, what was before it, what a rollback goes to, what has not ended, and what runs."""
    ledger = environment.ledger
    records = [ledger.live(), ledger.unfinished()]
    records += [ledger.release(record.previous) for record in records if record is not None and record.previous]
    records += [ledger.release(release) for release in {i.labels.release for i in environment.target.instances()}]
    with contextlib.suppress(UsageError):
        records.append(rollback_target(ledger, environment.name, "", environment.paths.values))
    return [record for record in records if record is not None]


def _recent_releases(environment: Environment) -> list[ReleaseRecord]:
    """The newest that `invoke rollback --to` can go to, and where a rollback goes from each of them."""
    ledger, found = environment.ledger, good_releases(environment.ledger)[:KEPT_RELEASES]
    for record in tuple(found):
        with contextlib.suppress(UsageError):
            found.append(other_version_before(ledger, environment.name, record, environment.paths.values))
    return found


def _end_instances(environment: Environment, timer: Timer) -> str:
    """Stop the instances that the timer names, unless their version has the traffic again after a rollback."""
    edge, target = environment.edge, environment.target
    servers = {state.server.name: state for state in edge.servers()} if edge.running() else {}
    of_release = [instance for instance in target.instances() if instance.labels.release == timer.release]
    if any(each.name in servers and servers[each.name].weight > 0 for each in of_release):
        environment.ledger.remove_timer(timer.id)
        return f"{timer.release} has the traffic again: it stays"
    ended = [each for each in of_release if each.name in timer.instances]
    busy = {
        each.name: servers[each.name].in_flight
        for each in ended
        if each.name in servers and servers[each.name].in_flight
    }
    for each in ended:
        if each.name in servers:
            edge.detach(each.name, force=True)
        target.stop(each.name, timeout=stop_timeout(environment.ledger, environment.name, each))
    environment.ledger.remove_timer(timer.id)
    why = "its warm window is over, it was stopped" if timer.kind == WARM else "what could not be ended was stopped"
    cut = f"; cut off: {requests_on(busy)}" if busy else ""
    return f"{timer.release}: {why}{cut}"
