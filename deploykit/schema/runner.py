"""The commands that inspect and apply migrations in the application's own environment, and their answers."""

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
    """The result of an upgrade: revisions in their order, seconds, and the failure (empty when there was none).

    `details` are the lines that show the cause: the SQL, the place in the revision, the holder of the lock.
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
    """Return the argv of an inspection, whose output `parse` reads.

    `python` is the application's, `migrations` is relative to `tree`. `folder` is the path of `in_app` on the machine
    that runs it. With `variable` in its environment it also reads the database. It changes nothing.
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
    """Return the argv of an upgrade to all heads except the contract branch's; `parse_upgrade` reads its output.

    `wait` is for another migration on the same database, `lock_timeout` for each lock of a statement; both in seconds.
    With `options` it also fills and compares declared changes. Its exit code is 0, 1 (failed) or 3 (can't be run).
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
    """Return the argv that prints every revision with its SQL, for `lint.rendered`.

    With `ask` it also queries the database for its version. `metadata` is `module:attribute` of the application's
    tables, which it then renders, too. `other_database`: the application does not use PostgreSQL, so it may have types
    that PostgreSQL lacks.
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
    """Return the argv of an action on declared changes; `parse_change` reads its output.

    `action` is status, plan, backfill, verify, contract, undo or control. For `options` see `in_app.actions`.
    """
    words = _command("change", python, migrations, tree, variable, folder)
    return (*words, action, "--options", json.dumps(options))


def revise_command(
    python: Path | str, migrations: str, tree: Path | str, *, message: str, mode: str, variable: str = "DATABASE_URL"
) -> tuple[str, ...]:
    """Return the argv that writes revisions into the tree; `parse_change` reads its output.

    `mode` is empty, autogenerate or contract.
    """
    words = _command("revise", python, migrations, tree, variable, IN_APP)
    return (*words, "--message", message, "--mode", mode)


def try_command(
    action: str, python: Path | str, migrations: str, tree: Path | str, *, variable: str = "DATABASE_URL"
) -> tuple[str, ...]:
    """Return the argv of `compare` (models with revisions) or `roundtrip` (up, down, up), for `parse_change`.

    The database in `variable` must be a disposable one.
    """
    return _command(action, python, migrations, tree, variable, IN_APP)


def _command(
    name: str, python: Path | str, migrations: str, tree: Path | str, variable: str, folder: Path | str
) -> tuple[str, ...]:
    words = (str(python), str(folder), name, "--tree", str(tree), "--migrations", migrations)
    return (*words, "--variable", variable)


def parse(output: str | Sequence[str]) -> Inspection:
    """Parse the output of `inspect_command`. Raises DeploykitError when it ended without an answer."""
    return Inspection.from_json(_answer(output, "the migrations could not be looked at"))


def parse_upgrade(output: str | Sequence[str]) -> Upgrade:
    """Parse the output of `upgrade_command`. Raises DeploykitError when it ended without an answer."""
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
    """Parse the output of `change_command`. Raises DeploykitError with the cause when it was refused or failed."""
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
