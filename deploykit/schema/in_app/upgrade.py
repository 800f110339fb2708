"""The command `upgrade`: `alembic upgrade heads`, alone on its database, then the rows of declared changes."""

from __future__ import annotations

import os
import time
from typing import Any

from .actions import finish
from .alembic_environment import MigrationError, complain, database_url
from .migration_run import run_to

__all__ = ["upgrade"]


def upgrade(
    migrations: str, variable: str, *, wait: float, lock_timeout: float, options: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Upgrade to all heads except the contract branch's.

    `applied` are the revisions done, `error` is null or the failure.

    With `options` it also fills and compares declared changes (unless they say `fill: false`), and stores their facts.

    `wait` is for another migration on the same database, `lock_timeout` for each lock of a statement; both in seconds.
    The latter keeps a migration behind a long transaction from blocking all others. Raises MigrationError when it can't
    start.
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
        answer.update(finish(url, migrations, options))
        if error := answer.get("error"):
            complain(f"the rows of a declared change: {error['message']}")
    return {**answer, "seconds": round(time.monotonic() - started, 3)}
