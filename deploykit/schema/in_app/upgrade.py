"""`alembic upgrade heads`, one at a time on a database, with a failure told in a few lines."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .alembic_environment import (
    MigrationError,
    complain,
    configuration,
    database_url,
    reason,
    say,
    version_table,
    with_connection,
)
from .inspection import load_scripts, read_current, release_heads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import URL, Connection

LOCK = int.from_bytes(b"deployki", "big")
"""The key of the advisory lock: one migration at a time in a database, whichever application it is of."""
_POLL_SECONDS = 0.1


def upgrade(
    migrations: str, variable: str, *, wait: float, lock_timeout: float, options: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Upgrade to all heads but those of the contract branch. `applied` are the revisions done, `error` is null or what failed.

    With `options`, what is declared is also filled and compared (unless they say `fill: false`), and their facts are recorded.

    `wait` is for another migration on the same database, `lock_timeout` for each lock that a statement needs
    (so that a migration that waits behind a long transaction does not hold up all others); both are seconds.
    """
    url = database_url(variable)
    if url is None:
        raise MigrationError("variable", f"the variable {variable} is not set, so there is no database to migrate")
    if url.get_backend_name() == "postgresql":
        # As start-up options, since env.py makes the connection; libpq reads them, asyncpg and pg8000 don't.
        given = os.environ.get("PGOPTIONS", "")
        if "lock_timeout" not in given:
            os.environ["PGOPTIONS"] = f"-c lock_timeout={int(lock_timeout * 1000)} {given}".strip()
    started = time.monotonic()
    answer: dict[str, Any] = run_to(migrations, url, None, wait=wait)
    if answer["error"] is None and options is not None and url.get_backend_name() in {"postgresql", "sqlite"}:
        from .actions import finish

        answer.update(finish(url, migrations, options))
        if error := answer.get("error"):
            complain(f"the rows of a declared change: {error['message']}")
    return {**answer, "seconds": round(time.monotonic() - started, 3)}


def run_to(migrations: str, url: URL, heads: tuple[str, ...] | str | None, *, wait: float) -> dict[str, Any]:
    """Upgrade to these heads (None: those of a release; `heads`: all), one at a time on the database; `applied` and `error`."""
    run = _Run(migrations, url, heads)
    with _only_one(url, wait):
        error = run.upgrade()
        if error is not None and error.pop("locked", False):
            error["blockers"] = _blockers(url)
    if error is not None:
        _tell(error)
    return {"applied": run.applied, "error": error}


class _Run:
    """One run of the environment's env.py, which decides on connections and transactions as it always does."""

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
        """Which of the revisions that ran are still there: with one transaction for all, a failure takes all back."""
        try:
            current = read_current(self.url, *version_table(self.config, self.script.dir))
            done = {revision.revision for revision in self.script.iterate_revisions(tuple(current), "base")}
        except Exception:  # noqa: BLE001 - the cause that is already known matters more
            return []
        return [revision for revision in self.applied if revision in done]

    def _steps(self, current: Any, _: Any) -> Iterator[Any]:
        # What Alembic's own command calls, which also takes several heads.
        for step in self.script._upgrade_revs(self.heads, current) if self.heads else ():  # type: ignore[arg-type]  # noqa: SLF001
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
        """The last line of the application's own migration code that led to the error."""
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


@contextlib.contextmanager
def _only_one(url: URL, wait: float) -> Iterator[None]:
    """Hold the advisory lock on PostgreSQL; other databases have none that would serve. Raises MigrationError past `wait` seconds.

    The lock has a connection of its own, in autocommit, and is polled for: an open transaction, or a statement that
    waits for the lock, would hold a snapshot that CREATE INDEX CONCURRENTLY waits for, and so a deadlock.
    It lives in a thread, so that it is held in the same way with an asynchronous driver.
    """
    if url.get_backend_name() != "postgresql":
        yield
        return
    taken, done = threading.Event(), threading.Event()
    failure: list[BaseException] = []

    def hold(connection: Connection) -> None:
        _take(connection, wait)
        taken.set()
        done.wait()

    def thread() -> None:
        try:
            with_connection(url, hold, autocommit=True)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            failure.append(error)
        finally:
            taken.set()

    holder = threading.Thread(target=thread, name="migration lock", daemon=True)
    holder.start()
    taken.wait()
    if failure:
        raise failure[0]
    try:
        yield
    finally:
        done.set()
        holder.join(10)


def _take(connection: Connection, wait: float) -> None:
    from sqlalchemy import text

    connection.execute(text("SET application_name = 'deploykit migrations'"))
    deadline = time.monotonic() + wait
    told = False
    while not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK}).scalar():
        if time.monotonic() >= deadline:
            raise MigrationError(
                "lock",
                f"another migration still runs on this database ({_holder(connection)}), after {wait:g} s of waiting",
            )
        if not told:
            say(f"another migration runs on this database ({_holder(connection)}): waiting up to {wait:g} s")
            told = True
        time.sleep(_POLL_SECONDS)


def _holder(connection: Connection) -> str:
    from sqlalchemy import text

    row = connection.execute(
        text(
            "SELECT a.pid, a.backend_start::timestamp(0) FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
            "WHERE l.locktype = 'advisory' AND l.granted AND l.classid = :high AND l.objid = :low AND l.objsubid = 1 "
            "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ),
        {"high": LOCK >> 32, "low": LOCK & 0xFFFFFFFF},
    ).first()
    return f"process {row[0]}, since {row[1]}" if row else "it has just ended"


def _blockers(url: URL) -> list[str]:
    """The oldest transactions of others, which is where a lock that could not be had is mostly held."""
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
