"""`alembic upgrade heads`, one at a time on a database, with a failure told in a few lines."""

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
        answer.update(finish(url, migrations, options))
        if error := answer.get("error"):
            complain(f"the rows of a declared change: {error['message']}")
    return {**answer, "seconds": round(time.monotonic() - started, 3)}
