"""One run of Alembic to given heads, alone on its database, with failures explained in a few lines."""

from __future__ import annotations

import os
import re
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .alembic_environment import (
    MigrationError,
    complain,
    configuration,
    reason,
    say,
    version_table,
    with_connection,
)
from .inspection import load_scripts, read_current, release_heads
from .migration_lock import only_one_migration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import URL, Connection

__all__ = ["run_to"]


def run_to(migrations: str, url: URL, heads: tuple[str, ...] | str | None, *, wait: float) -> dict[str, Any]:
    """Upgrade to the heads (None: those of a release; `heads`: all) and return `applied` and `error`.

    Raises MigrationError when another migration still runs after `wait` seconds.
    """
    run = _Run(migrations, url, heads)
    with only_one_migration(url, wait):
        error = run.upgrade()
        if error is not None and error.pop("locked", False):
            error["blockers"] = _blockers(url)
    if error is not None:
        _tell(error)
    return {"applied": run.applied, "error": error}


class _Run:
    """One run of the environment's env.py, which manages connections and transactions as always."""

    def __init__(self, migrations: str, url: URL, heads: tuple[str, ...] | str | None = None) -> None:
        self.config = configuration(migrations)
        # For an env.py that reads the URL from the configuration, as Alembic's own template does.
        self.config.set_main_option("sqlalchemy.url", url.render_as_string(hide_password=False).replace("%", "%%"))
        self.script = load_scripts(migrations)
        self.heads = release_heads(self.script) if heads is None else heads
        self.url = url
        self.applied: list[str] = []
        self.running: Any = None

    def upgrade(self) -> dict[str, Any] | None:
        from alembic.runtime.environment import EnvironmentContext

        try:
            with EnvironmentContext(self.config, self.script, fn=self._steps, destination_rev="heads"):
                self.script.run_env()
        except Exception as error:  # noqa: BLE001 - the application's code may raise anything
            explained = self._explain(error)
            self.applied = self._kept()
            return explained
        return None

    def _kept(self) -> list[str]:
        """Return which of the applied revisions remain: with one transaction for all, a failure reverts them."""
        try:
            current = read_current(self.url, *version_table(self.config, self.script.dir))
            done = {revision.revision for revision in self.script.iterate_revisions(tuple(current), "base")}
        except Exception:  # noqa: BLE001 - the cause that is already known matters more
            return []
        return [revision for revision in self.applied if revision in done]

    def _steps(self, current: Any, _: Any) -> Iterator[Any]:
        # What Alembic's own command calls, which also takes several heads.
        heads: Any = self.heads
        for step in self.script._upgrade_revs(heads, current) if heads else ():  # noqa: SLF001
            self.running = step.revision
            began = time.monotonic()
            yield step  # Alembic runs it and stamps it before it asks for the next
            self.applied.append(step.revision.revision)
            say(f"ran {step.revision.revision} {step.doc} ({time.monotonic() - began:.2f} s)")
            self.running = None

    def _explain(self, error: Exception) -> dict[str, Any]:
        original = getattr(error, "orig", None)
        message = reason(error, self.url)
        if lacking := re.search(r"Can't locate revision identified by '([^']+)'", message):
            message = (
                f"the database is at revision {lacking[1]}, which this version lacks: a later version has migrated it"
            )
        elif original is None:
            message = f"{type(error).__name__}: {message}"
        statement = " ".join(str(getattr(error, "statement", None) or "").split())
        state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
        script = self.running
        return {
            "kind": "revision" if script is not None else "environment",
            "revision": script.revision if script is not None else None,
            "title": script.doc if script is not None else "",
            "message": message,
            "sql": statement if len(statement) <= 500 else f"{statement[:500]}…",
            "where": self._where(error),
            "locked": state == "55P03",
        }

    def _where(self, error: Exception) -> str:
        """Return the last line of the application's own migration code that led to the error."""
        folders = {Path(script.path).resolve().parent for script in self.script.walk_revisions()}
        folders.add(Path(self.script.dir).resolve())
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if not folders.isdisjoint(Path(frame.filename).resolve().parents):
                return f"{os.path.relpath(frame.filename)}:{frame.lineno}"
        return ""


def _tell(error: dict[str, Any]) -> None:
    if error["kind"] == "revision":
        complain(f"revision {error['revision']} ({error['title']}) failed: {error['message']}")
    else:
        complain(f"the migration environment failed: {error['message']}")
    for name, label in (("sql", "SQL"), ("where", "at")):
        if error[name]:
            complain(f"  {label}: {error[name]}")
    for line in error.get("blockers", ()):
        complain(f"  {line}")


def _blockers(url: URL) -> list[str]:
    """Describe the oldest transactions of others, which most often hold the missing lock."""
    from sqlalchemy import text

    query = text(
        "SELECT pid, coalesce(application_name, ''), state, extract(epoch FROM now() - xact_start)::int "
        "FROM pg_stat_activity WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() "
        "AND datname = current_database() AND backend_type = 'client backend' ORDER BY xact_start LIMIT 3"
    )

    def read(connection: Connection) -> list[str]:
        return [
            f"a transaction open for {row[3]} s: process {row[0]} {row[1]} ({row[2]})".replace("  ", " ")
            for row in connection.execute(query)
        ]

    try:
        found: list[str] = with_connection(url, read, autocommit=True)
    except MigrationError:
        return []
    return found
