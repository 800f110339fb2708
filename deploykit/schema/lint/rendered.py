"""The answer of `in_app render` as values, and the choice of the revisions to judge."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deploykit.model.errors import InconclusiveError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Declared", "Direction", "Rendered", "Revision", "Step", "chosen", "parse_rendering"]

_MARK = "@deploykit "


@dataclass(frozen=True, kw_only=True)
class Step:
    """The SQL of one operation, and the line of the revision that asked for it (0: not known)."""

    sql: str
    line: int = 0
    autocommit: bool = False
    existing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Declared:
    """An operation on a declared change (expand, contract, undo, reopen), and the tables that an expand concerns."""

    kind: str
    tables: tuple[str, ...] = ()
    line: int = 0


@dataclass(frozen=True, kw_only=True)
class Direction:
    """An upgrade or a downgrade. `unknown` says why its steps may be incomplete; empty when they are complete."""

    steps: tuple[Step, ...] = ()
    declared: tuple[Declared, ...] = ()
    unknown: str = ""


@dataclass(frozen=True, kw_only=True)
class Revision:
    revision: str
    down: tuple[str, ...] = ()
    message: str = ""
    path: str = ""
    labels: tuple[str, ...] = ()
    upgrade: Direction = Direction()
    downgrade: Direction = Direction()


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """All revisions in the order in which they are applied. `env` is the text of env.py, `folder` its folder."""

    revisions: tuple[Revision, ...]
    branches: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    server_version: int | None = None
    models: tuple[str, ...] | None = None
    env: str = ""
    folder: str = ""


def parse_rendering(output: str) -> Rendered:
    """Parse the output of `in_app render`. Raises InconclusiveError with the reason when it could not render."""
    lines = output.splitlines()
    marked = next((line for line in reversed(lines) if line.startswith(_MARK)), "")
    if not marked:
        raise InconclusiveError(
            "the revisions could not be rendered",
            details=[line for line in lines if line.strip()][-15:],
            next_step="fix what the last lines report, then run the gate again",
        )
    answer = json.loads(marked.removeprefix(_MARK))
    if error := answer.get("error"):
        raise InconclusiveError(
            f"the revisions can't be judged: {error['message']}", next_step="fix that, then: invoke db.lint"
        )
    models = answer["models"]
    return Rendered(
        revisions=tuple(_revision(item) for item in answer["revisions"]),
        branches={label: tuple(heads) for label, heads in answer["branches"].items()},
        server_version=answer["server_version"],
        models=None if models is None else tuple(models),
        env=answer["env"],
        folder=answer["folder"],
    )


def _revision(item: Mapping[str, Any]) -> Revision:
    return Revision(
        revision=item["revision"],
        down=tuple(item["down"]),
        message=item["message"],
        path=item["path"],
        labels=tuple(item["labels"]),
        upgrade=_direction(item["upgrade"]),
        downgrade=_direction(item["downgrade"]),
    )


def _direction(item: Mapping[str, Any]) -> Direction:
    return Direction(
        steps=tuple(Step(**step) for step in item["steps"]),
        declared=tuple(
            Declared(kind=each["kind"], tables=tuple(each["tables"]), line=each["line"])
            for each in item.get("declared", ())
        ),
        unknown=item["unknown"] or "",
    )


def chosen(revisions: Sequence[Revision], first: Sequence[str], last: str) -> set[str]:
    """Return the revisions after `first` (none: from the beginning) up to `last` (`heads`: all), by id.

    Ids may be shortened as far as they are unique. Raises UsageError for an unknown one.
    """
    by_id = {item.revision: item for item in revisions}
    before: set[str] = set()
    for name in first:
        before |= _ancestors(by_id, [_found(by_id, name)])
    wanted = set(by_id) if last in {"", "heads", "head"} else _ancestors(by_id, [_found(by_id, last)])
    return wanted - before


def _found(by_id: Mapping[str, Revision], name: str) -> str:
    matches = [name] if name in by_id else [revision for revision in by_id if name and revision.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    raise UsageError(
        f"there is no revision {name!r}" if not matches else f"{name!r} begins more than one revision",
        details=[f"revisions: {', '.join(list(by_id)[-5:])}" + (" and others" if len(by_id) > 5 else "")],
        next_step="invoke db.lint --revs A:B, with ids as Alembic shows them",
    )


def _ancestors(by_id: Mapping[str, Revision], names: Sequence[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in by_id and name not in found:
            found.add(name)
            waiting += by_id[name].down
    return found
