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

__all__ = ["INSIDE", "Upgrade", "inspect_command", "parse", "parse_upgrade", "render_command", "upgrade_command"]

INSIDE = Path(__file__).parent / "inside"
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


def inspect_command(
    python: Path | str,
    migrations: str,
    tree: Path | str,
    *,
    variable: str = "DATABASE_URL",
    inside: Path | str = INSIDE,
) -> tuple[str, ...]:
    """The argv that prints what `parse` reads. `python` is the application's, `migrations` is relative to `tree`, `inside`
    is where the kit's part of it is found, if that is not this machine's `INSIDE`.

    With `variable` in its environment the database is read too; nothing is changed, neither there nor in the tree.
    """
    return _command("inspect", python, migrations, tree, variable, inside)


def upgrade_command(  # noqa: PLR0913 - by keyword
    python: Path | str,
    migrations: str,
    tree: Path | str,
    *,
    variable: str = "DATABASE_URL",
    inside: Path | str = INSIDE,
    wait: float = 60.0,
    lock_timeout: float = 10.0,
) -> tuple[str, ...]:
    """The argv that upgrades to all heads and prints what `parse_upgrade` reads; exit code 0, 1 failed, 3 can't be run.

    `wait` is for another migration on the same database, `lock_timeout` for each lock a statement needs; seconds.
    """
    limits = ("--wait", f"{wait:g}", "--lock-timeout", f"{lock_timeout:g}")
    return (*_command("upgrade", python, migrations, tree, variable, inside), *limits)


def render_command(
    python: Path | str,
    migrations: str,
    tree: Path | str,
    *,
    variable: str = "DATABASE_URL",
    ask: bool = False,
    metadata: str = "",
) -> tuple[str, ...]:
    """The argv that prints every revision with its SQL, for `lint.rendered`. `ask`: also ask the database for its version.

    `metadata` is `module:attribute` of the application's tables, which are then rendered, too.
    """
    more = (*(("--ask",) if ask else ()), *(("--metadata", metadata) if metadata else ()))
    return (*_command("render", python, migrations, tree, variable, INSIDE), *more)


def _command(
    name: str, python: Path | str, migrations: str, tree: Path | str, variable: str, inside: Path | str
) -> tuple[str, ...]:
    words = (str(python), str(inside), name, "--tree", str(tree), "--migrations", migrations)
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
        details=(*details, *error.get("blockers", ())),
        revision=str(revision or ""),
    )


def _answer(output: str | Sequence[str], failure: str) -> Mapping[str, Any]:
    lines = output.splitlines() if isinstance(output, str) else list(output)
    for line in reversed(lines):
        if line.startswith(_MARK):
            answer: Mapping[str, Any] = json.loads(line.removeprefix(_MARK))
            return answer
    raise DeploykitError(failure, details=[line for line in lines if line.strip()][-20:])
