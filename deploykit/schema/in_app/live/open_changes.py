"""The changes that are open on one database, and what is refused because of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..changes.model import Refused
from ..changes.uses import built_on, meeting, stays

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..changes.model import Use
    from .state import Known

__all__ = ["is_open", "open_dependents", "open_meetings", "reject_meeting"]

_LEFT = {"expanded": ("fill", "contract"), "filled": ("contract",), "contracted": (), "planned": (), "undone": ()}
"""The programs that a phase still has before it; every other phase is in the middle of one."""


def is_open(known: Known) -> bool:
    """Whether something of the change is still to be done, or its triggers stay for good."""
    if known.phase not in _LEFT:
        return True
    if stays(known.change) and known.phase not in {"planned", "undone"}:
        return True
    return any(known.steps.program(program) for program in _LEFT[known.phase])


def open_meetings(key: str, uses: Iterable[Use], changes: Iterable[Known]) -> list[tuple[Known, Use]]:
    """Return the other open changes that would affect the change or be affected by it, and where."""
    wanted = tuple(uses)
    return [
        (other, use)
        for other in changes
        if other.key != key and is_open(other) and (use := meeting(wanted, other.steps.uses)) is not None
    ]


def open_dependents(known: Known, changes: Iterable[Known]) -> list[tuple[Known, Use]]:
    """Return the other open changes of what this one has made, and where: they can't go on when it is undone."""
    return [
        (other, use)
        for other in changes
        if other.key != known.key and is_open(other) and (use := built_on(known.steps.uses, other.steps.uses))
    ]


def reject_meeting(key: str, found: Iterable[tuple[Known, Use]]) -> None:
    """Raise Refused for the first change that is met, with the commands that end it."""
    for other, use in found:
        where = f"{use.table}.{use.column}" if use.column != "*" else f"the table {use.table}"
        raise Refused(
            f"{key} meets {other.key} on {where}, which is {other.phase}: the two would not be kept in step",
            _ending(other),
        )


def _ending(known: Known) -> str:
    undo = f"invoke db.undo --change {known.key}"
    if known.phase in {"undoing", "reopening"}:
        return f"finish that: {undo}"
    if known.phase == "contracted":
        return f"undo {known.key} first: {undo}"
    if known.phase == "contracting":
        return "finish that: invoke db.contract"
    if stays(known.change):
        return f"its trigger computes the column for good; abandon it: {undo}"
    needed = {
        "invoke db.expand": known.phase == "expanding",
        "invoke db.backfill": known.phase in {"expanding", "expanded", "filling"} and bool(known.steps.fill),
        "invoke db.contract": bool(known.steps.contract),
    }
    ways = ", then ".join(command for command, wanted in needed.items() if wanted)
    return f"finish {known.key} first ({ways}), or abandon it: {undo}"
