"""What is due later is done first by every command: warm versions whose window is over, events the board has not heard."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.model.errors import DeploykitError

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploykit.ledger.interface import Timer
    from deploykit.release.surroundings import Surroundings

__all__ = ["Reaped", "prune", "reap"]


@dataclass(frozen=True, kw_only=True)
class Reaped:
    """What was done, one sentence each, and what could not be."""

    done: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def reap(around: Surroundings, *, clock: Callable[[], float] = time.time) -> Reaped:
    """Do what is due. To be called with the environment's lock held, as `prune`."""
    from deploykit.release.events import deliver

    done: list[str] = []
    problems: list[str] = []
    now = clock()
    for timer in around.ledger.timers():
        if timer.due_at > now:
            continue
        try:
            if timer.kind == "warm":
                done.append(_cool(around, timer))
            elif timer.kind == "report":
                deliver(around, timer)
                done.append(f"{timer.release}: reported to the board")
        except DeploykitError as error:
            problems.append(error.message)
    return Reaped(done=tuple(done), problems=tuple(problems))


def prune(around: Surroundings) -> Reaped:
    """Remove what nobody can want any more from a place that others share."""
    if not around.place.shared:
        return Reaped()
    try:
        return Reaped(done=tuple(around.place.prune(_could_be_wanted(around))))
    except DeploykitError as error:
        return Reaped(problems=(error.message,))
    except Exception as error:  # noqa: BLE001 - tidying up must not fail a release that is being made, or is done
        return Reaped(problems=(f"old images were not removed: {type(error).__name__}: {error}",))


def _could_be_wanted(around: Surroundings) -> set[str]:
    """Digests of what is live, of what was before it, and of whatever has not ended."""
    ledger = around.ledger
    records = [ledger.live(), ledger.unfinished()]
    records += [ledger.release(record.previous) for record in records if record is not None and record.previous]
    return {record.digest for record in records if record is not None and record.digest}


def _cool(around: Surroundings, timer: Timer) -> str:
    """End a version whose warm window is over, unless it has the traffic (somebody rolled back to it)."""
    edge = {state.server.name: state for state in around.edge.servers()} if around.edge.running() else {}
    names = [instance.name for instance in around.target.instances() if instance.labels.release == timer.release]
    if any(name in edge and edge[name].weight > 0 for name in names):
        around.ledger.remove_timer(timer.id)
        return f"{timer.release} has the traffic again: it stays"
    for name in names:
        if name in edge:
            around.edge.detach(name, force=True)
        around.target.stop(name, timeout=10.0)
    around.ledger.remove_timer(timer.id)
    return f"{timer.release}: its warm window is over, it was stopped"
