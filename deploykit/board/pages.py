"""The board's pages, as HTML. Jinja2 is imported with the first page, so that it is no part of the start."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from deploykit.model.printable import printable

if TYPE_CHECKING:
    import jinja2

    from deploykit.board.store import Store

__all__ = ["Frame", "front", "one_app", "stylesheet", "trouble"]

LATEST = 20
SILENT_SECONDS = 900
MARKS = {"done": "✓", "failed": "✗", "rolled back": "↩", "cancelled": "■", "running": "…"}


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What every page shows around its content. `now` is UTC epoch seconds."""

    version: str
    now: float
    query: str


def front(store: Store, frame: Frame, app: str = "") -> str:
    """All apps or the one of that name, what is live in each environment, and the latest releases."""
    return _render("front.html", frame, apps=store.apps(app), releases=store.releases(app=app, limit=LATEST))


def one_app(store: Store, name: str, frame: Frame) -> str | None:
    """One app with its releases; None when nothing was ever reported of it."""
    found = next(iter(store.apps(name)), None) if name else None
    if found is None:
        return None
    return _render("app.html", frame, app=found, releases=store.releases(app=name, limit=2 * LATEST))


def trouble(why: str, frame: Frame) -> str:
    return _render("trouble.html", frame, why=why)


@functools.cache
def stylesheet() -> bytes:
    return resources.files(__package__).joinpath("templates", "board.css").read_bytes()


def _render(template: str, frame: Frame, **values: Any) -> str:
    now = datetime.fromtimestamp(frame.now, UTC)
    return _templates().get_template(template).render(frame=frame, now=now, **values)


@functools.cache
def _templates() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("deploykit.board"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        age=_age, duration=_duration, stamp=_stamp, path=functools.partial(quote, safe=""), short=_short
    )
    environment.globals.update(mark=MARKS.get, silent=_silent)
    return environment


def _shown(value: Any) -> Any:
    """Names and reasons are untrusted: HTML in them is escaped, and so are control and bidirectional characters."""
    return printable(value, keep="\n\t") if type(value) is str else value


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _age(moment: datetime, now: datetime) -> str:
    seconds = max(0.0, (now - moment).total_seconds())
    for limit, size, unit in ((60, 1, "s"), (3600, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds // 86_400:.0f} days"


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _short(digest: str) -> str:
    """A digest as people compare them: its algorithm's name left out, twelve characters."""
    return digest.rpartition(":")[2][:12]


def _silent(last_event: datetime, now: datetime) -> bool:
    """Whether a running release has not been heard of for so long that somebody should look."""
    return (now - last_event).total_seconds() > SILENT_SECONDS
