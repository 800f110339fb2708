"""What a release looks like, from the events that arrived of it, in whatever order they arrived."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.board.events import KINDS, Event, Stage

if TYPE_CHECKING:
    from collections.abc import Iterable


__all__ = ["Projection", "project"]

_TEXTS = ("version", "digest", "commit", "actor", "url", "reason")


@dataclass(frozen=True, kw_only=True)
class Projection:
    """Times are UTC epoch seconds; `finished_at` is None while the release runs."""

    operation: str
    outcome: str
    started_at: float
    finished_at: float | None
    last_event_at: float
    version: str
    digest: str
    commit: str
    actor: str
    url: str
    reason: str
    stages: tuple[Stage, ...]


def project(events: Iterable[Event]) -> Projection:
    """The same answer for every order of the same events; at least one is wanted.

    Later events (by their own time, then by kind, then by id) complete and correct earlier ones; a text that a later
    event leaves out stays. Without a `started` event the start is reckoned from what the stages took. A release that
    was finished stays so unless a later `started` says that it was resumed.
    """
    ordered = sorted(events, key=lambda event: (event.at, KINDS.index(event.kind), event.id))
    started = [event.at for event in ordered if event.kind == "started"]
    decisive = [event for event in ordered if event.kind in {"started", "finished"}]
    ended = decisive[-1] if decisive and decisive[-1].kind == "finished" else None
    stages: dict[str, Stage] = {}
    for event in ordered:
        stages.update({stage.name: stage for stage in event.stages})
    texts = {name: next((text for event in reversed(ordered) if (text := getattr(event, name))), "") for name in _TEXTS}
    return Projection(
        operation=decisive[-1].operation if decisive else ordered[-1].operation,
        outcome=ended.outcome if ended else "running",
        started_at=started[0] if started else min(event.at - _took(event) for event in ordered),
        finished_at=ended.at if ended else None,
        last_event_at=ordered[-1].at,
        stages=tuple(stages.values()),
        **texts,
    )


def _took(event: Event) -> float:
    """Seconds, as far as an event tells: stages come one after another."""
    return sum(stage.seconds for stage in event.stages)
