"""The commands that look at and apply migrations in the application's own environment, and what they answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.model.errors import DeploykitError
from deploykit.schema.inspection import Inspection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "IN_APP",
    "Upgrade",
    "change_command",
    "inspect_command",
    "parse",
    "parse_change",
    "parse_upgrade",
    "render_command",
    "revise_command",
    "try_command",
    "upgrade_command",
]

IN_APP = Path(__file__).parent / "in_app"
_MARK = "@deploykit "


@dataclass(frozen=True, kw_only=True)
class Upgrade:
    """What an upgrade did: revisions in their order, seconds, and what failed (empty when nothing did).

    `details` are the lines that show the cause: the SQL, the place in the revision, who holds the lock.
    """

    applied: tuple[str, ...]
    seconds: float
    error: str = ""
    details: tuple[str, ...] = ()
    revision: str = ""
    next_step: str = ""
    filled: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    """The declared changes whose rows were filled, and all that this version knows."""


def inspect_command(
    python: Path | str,
    migrations: str,
    tree: Path | str,
    *,
    variable: str = "DATABASE_URL",
    folder: Path | str = IN_APP,
) -> tuple[str, ...]:
    """The argv that prints what `parse` reads. `python` is the application's, `migrations` is relative to `tree`, `folder`
    is where the kit's part of it is found, if that is not this machine's `IN_APP`.

    With `variable` in its environment the database is read too; nothing is changed, neither there nor in the tree.
    """
    return _command("inspect", python, migrations, tree, variable, folder)


def upgrade_command(  # noqa: PLR0913 - by keyword
    python: Path | str,
    migrations: str,
    tree: Path | str,
    *,
    variable: str = "DATABASE_URL",
    folder: Path | str = IN_APP,
    wait: float = 60.0,
    lock_timeout: float = 10.0,
    options: Mapping[str, Any] | None = None,
) -> tuple[str, ...]:
    """The argv that upgrades to all heads but the contract branch's, and prints what `parse_upgrade` reads; exit code 0, 1 failed, 3 can't be run.

    `wait` is for another migration on the same database, `lock_timeout` for each lock a statement needs; seconds.
    With `options` declared changes are filled and compared, too.
    """
    limits: tuple[str, ...] = ("--wait", f"{wait:g}", "--lock-timeout", f"{lock_timeout:g}")
    if options is not None:
        limits += ("--options", json.dumps(options))
    return (*_command("upgrade", python, migrations, tree, variable, folder), *limits)


def render_command(  # noqa: PLR0913 - by keyword
    python: Path | str,
    migrations: str,
    tree: Path | str,
    *,
    variable: str = "DATABASE_URL",
    ask: bool = False,
    metadata: str = "",
    other_database: bool = False,
) -> tuple[str, ...]:
    """The argv that prints every revision with its SQL, for `lint.rendered`. `ask`: also ask the database for its version.

    `metadata` is `module:attribute` of the application's tables, which are then rendered, too. `other_database`: the application's
    database is not PostgreSQL, so it may have types that PostgreSQL does not.
    """
    more = (*(("--ask",) if ask else ()), *(("--metadata", metadata) if metadata else ()))
    more += ("--other-database",) if other_database else ()
    return (*_command("render", python, migrations, tree, variable, IN_APP), *more)


def change_command(  # noqa: PLR0913 - by keyword
    action: str,
    python: Path | str,
    migrations: str,
    tree: Path | str,
    *,
    options: Mapping[str, Any],
    variable: str = "DATABASE_URL",
    folder: Path | str = IN_APP,
) -> tuple[str, ...]:
    """The argv that looks after declared changes and prints what `parse_change` reads.

    `action` is status, plan, backfill, verify, contract, undo or control; `options`: see `in_app.actions`.
    """
    words = _command("change", python, migrations, tree, variable, folder)
    return (*words, action, "--options", json.dumps(options))


def revise_command(
    python: Path | str, migrations: str, tree: Path | str, *, message: str, mode: str, variable: str = "DATABASE_URL"
) -> tuple[str, ...]:
    """The argv that writes revisions into the tree and prints what `parse_change` reads. `mode`: empty, autogenerate, contract."""
    words = _command("revise", python, migrations, tree, variable, IN_APP)
    return (*words, "--message", message, "--mode", mode)


def try_command(
    action: str, python: Path | str, migrations: str, tree: Path | str, *, variable: str = "DATABASE_URL"
) -> tuple[str, ...]:
    """The argv of `compare` (models with revisions) or `roundtrip` (up, down, up) on a database of no worth; `parse_change` reads it."""
    return _command(action, python, migrations, tree, variable, IN_APP)


def _command(
    name: str, python: Path | str, migrations: str, tree: Path | str, variable: str, folder: Path | str
) -> tuple[str, ...]:
    words = (str(python), str(folder), name, "--tree", str(tree), "--migrations", migrations)
    return (*words, "--variable", variable)


def parse(output: str | Sequence[str]) -> Inspection:
    """What `inspect_command` printed. Raises DeploykitError when it ended before it could answer."""
    return Inspection.from_json(_answer(output, "the migrations could not be looked at"))


def parse_upgrade(output: str | Sequence[str]) -> Upgrade:
    """What `upgrade_command` printed. Raises DeploykitError when it ended before it could answer."""
    answer = _answer(output, "the migrations did not run to their end")
    error = answer.get("error") or {}
    message = str(error.get("message", ""))
    if revision := error.get("revision"):
        message = f"revision {revision} ({error.get('title', '')}) failed: {message}"
    elif error.get("kind") == "environment":
        message = f"the migration environment failed: {message}"
    details = [f"{label}: {error[key]}" for key, label in (("sql", "SQL"), ("where", "at")) if error.get(key)]
    return Upgrade(
        applied=tuple(answer.get("applied", ())),
        seconds=float(answer.get("seconds", 0.0)),
        error=message,
        details=(*details, *error.get("blockers", ()), *error.get("lines", ()), *_rows(answer)),
        revision=str(revision or ""),
        next_step=str(error.get("next_step", "")),
        filled=tuple(answer.get("filled") or ()),
        changes=tuple(answer.get("changes") or ()),
    )


def parse_change(output: str | Sequence[str]) -> Mapping[str, Any]:
    """What `change_command` printed. Raises DeploykitError with the cause when it was refused or failed."""
    answer = _answer(output, "the declared changes could not be worked on")
    if error := answer.get("error"):
        raise DeploykitError(
            str(error["message"]),
            details=[*error.get("lines", ())[1:], *_rows(answer)],
            next_step=str(error.get("next_step", "")),
        )
    return answer


def _rows(answer: Mapping[str, Any]) -> list[str]:
    return [f"row {key}: {old} and {new}" for key, old, new in answer.get("mismatches", ())]


def _answer(output: str | Sequence[str], failure: str) -> Mapping[str, Any]:
    lines = output.splitlines() if isinstance(output, str) else list(output)
    for line in reversed(lines):
        if line.startswith(_MARK):
            answer: Mapping[str, Any] = json.loads(line.removeprefix(_MARK))
            return answer
    raise DeploykitError(failure, details=[line for line in lines if line.strip()][-20:])
