"""The migrations, which of them are pending, and what each would do. Nothing is changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .alembic_environment import MigrationError, configuration, database_url, version_table, with_connection
from .recording import record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alembic.script import Script, ScriptDirectory
    from sqlalchemy.engine import URL, Connection


def inspect_migrations(migrations: str, variable: str) -> dict[str, Any]:
    """Return heads, current and pending revisions as a JSON object.

    The database is only read, and only if its URL is set.

    `current` and `pending` are null when the database was not read; `error` then has the reason, if there is one.
    `missing` are revisions that the database has and these migrations lack: a later version migrated it.
    """
    script = load_scripts(migrations)
    heads = [script.get_revision(revision) for revision in script.get_heads()]
    answer: dict[str, Any] = {
        "heads": [
            {"revision": head.revision, "labels": sorted(head.branch_labels), "message": head.doc} for head in heads
        ],
        "branches": branches(heads),
        "dialect": "postgresql",
        "current": None,
        "missing": [],
        "pending": None,
        "changes": False,
        "error": None,
    }
    try:
        url = database_url(variable)
        if url is None:
            return answer
        answer["dialect"] = url.get_backend_name()
        current = read_current(url, *version_table(configuration(migrations), script.dir))
        answer["changes"] = _has_changes(url)
    except MigrationError as error:
        answer["error"] = error.as_json()
        return answer
    known = [revision for revision in current if _has(script, revision)]
    answer["current"] = current
    answer["missing"] = [revision for revision in current if revision not in known]
    # Migrations must not find the database by themselves while they are only looked at.
    os.environ.pop(variable, None)
    answer["pending"] = [
        {
            "revision": step.revision,
            "message": step.doc,
            "path": os.path.relpath(step.path),
            **record(step.module, url),
        }
        for step in pending_revisions(script, known)
    ]
    return answer


def load_scripts(migrations: str) -> ScriptDirectory:
    """Load the revisions. Raises MigrationError when they can't be imported or don't fit together."""
    config = configuration(migrations)
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    try:
        script = ScriptDirectory.from_config(config)
        script.get_heads()
    except CommandError as error:
        raise MigrationError("migrations", f"{migrations}: {error}") from error
    except Exception as error:
        raise MigrationError(
            "revisions", f"a revision in {migrations} can't be loaded: {type(error).__name__}: {error}"
        ) from error
    if not (Path(script.dir) / "env.py").is_file():
        raise MigrationError("migrations", f"there is no env.py in {os.path.relpath(script.dir)}")
    return script


def branches(heads: list[Script]) -> dict[str, list[str]]:
    """Return the heads of each branch label; the empty label has those without one. A branch should have one head."""
    found: dict[str, list[str]] = {}
    for head in heads:
        for label in sorted(head.branch_labels) or [""]:
            found.setdefault(label, []).append(head.revision)
    return found


def read_current(url: URL, table: str, schema: str | None) -> list[str]:
    """Return the revisions that the database is at; an empty list for one that was never migrated."""
    if url.get_backend_name() == "sqlite" and _file_is_missing(url.database):
        return []  # connecting would create it
    from sqlalchemy import column, inspect, select
    from sqlalchemy import table as table_clause

    def read(connection: Connection) -> list[str]:
        if not inspect(connection).has_table(table, schema=schema):
            return []
        rows: Any = connection.execute(select(column("version_num")).select_from(table_clause(table, schema=schema)))
        return sorted(str(row[0]) for row in rows)

    found: list[str] = with_connection(url, read)
    return found


_RECORDS = {
    "postgresql": "SELECT to_regclass('deploykit.change')",
    "sqlite": "SELECT 1 FROM sqlite_master WHERE name = 'deploykit_change'",
}


def _has_changes(url: URL) -> bool:
    """Whether the database's ledger has declared changes."""
    name = url.get_backend_name()
    if name not in _RECORDS or (name == "sqlite" and _file_is_missing(url.database)):
        return False
    from sqlalchemy import text

    return bool(with_connection(url, lambda connection: connection.execute(text(_RECORDS[name])).scalar()))


def _file_is_missing(database: str | None) -> bool:
    return not database or database == ":memory:" or not Path(database.removeprefix("file:").partition("?")[0]).exists()


CONTRACT = "contract"
"""The label of the branch that drops old shapes. A release skips it; `invoke db.contract` runs it."""


def is_contract(script: ScriptDirectory, revision: str) -> bool:
    found = script.get_revision(revision)
    return found is not None and CONTRACT in found.branch_labels


def release_heads(script: ScriptDirectory) -> tuple[str, ...]:
    """Return the heads of a release: all except the contract branch's, and those that another head depends on."""
    wanted = [head for head in script.get_heads() if not is_contract(script, head)]
    behind = {name for head in wanted for name in _behind(script, head)}
    return tuple(head for head in wanted if head not in behind)


def _behind(script: ScriptDirectory, head: str) -> set[str]:
    """Return all revisions before this one, as ancestors or as dependencies."""
    found: set[str] = set()
    waiting = [head]
    while waiting:
        revision = script.get_revision(waiting.pop())
        # There is no public attribute with both kinds of predecessors.
        for name in revision._all_down_revisions if revision is not None else ():  # noqa: SLF001
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


def pending_revisions(script: ScriptDirectory, current: list[str], heads: Sequence[str] | None = None) -> list[Script]:
    """Return the revisions that an upgrade to the heads (by default a release's) would run, in their order."""
    wanted = release_heads(script) if heads is None else tuple(heads)
    if not wanted:
        return []
    revisions = script.iterate_revisions(wanted, tuple(current), implicit_base=True)
    return list(reversed(list(revisions)))


def _has(script: ScriptDirectory, revision: str) -> bool:
    from alembic.util import CommandError

    try:
        return script.get_revision(revision) is not None
    except CommandError:
        return False
