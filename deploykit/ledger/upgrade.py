"""Bring a ledger's tables to what this kit knows, when it is opened.

A ledger that is up to date costs one query; Alembic and SQLAlchemy (a third of a second) are loaded only to change
something.
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from deploykit.ledger.errors import is_missing_table
from deploykit.model import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa

    from deploykit.ledger.database import Database

__all__ = ["HEAD", "MIGRATIONS", "REVISIONS", "VERSION_TABLE", "ensure"]

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "deploykit_schema"
REVISIONS = ("0001", "0002")
"""What `migrations/versions` holds, oldest first; a test compares the two."""
HEAD = REVISIONS[-1]

_ADVISORY = 0x6465706C6F796B69  # "deployki": the one thing all who upgrade a PostgreSQL server's ledger wait for
_VERSION = "SELECT version_num FROM deploykit_schema"
_alembic = threading.Lock()  # Alembic's `op` and `context` are one per process


def ensure(database: Database) -> None:
    """Apply what is missing, in one transaction: killed half-way, nothing happened.

    Raises UsageError, touching nothing, when the ledger is newer than this kit, or when it is some other database.
    """
    if _recorded(database) != HEAD:
        with _alembic:
            _apply(database)


def _recorded(database: Database) -> str | None:
    with database.read() as connection:
        try:
            version: str | None = connection.value(_VERSION)
        except Exception as error:
            if is_missing_table(error):
                return None
            raise
        return version


@contextlib.contextmanager
def alchemy(database: Database) -> Iterator[sa.Connection]:
    """A transaction as SQLAlchemy has them, for Alembic; durable once the block is left without an error."""
    import sqlalchemy as sa

    engine = sa.create_engine(f"{database.dialect}://", creator=database.for_alembic, poolclass=sa.NullPool)
    if database.is_sqlite:
        # The driver leaves BEGIN to us, and a writer waits for its turn there.
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    with database.translated_errors():
        try:
            with engine.begin() as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            raise error.orig or error from error


def _apply(database: Database) -> None:
    import sqlalchemy as sa

    with alchemy(database) as connection:
        if not database.is_sqlite:  # SQLite's writers wait for each other already
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY})
        tables = sa.inspect(connection).get_table_names()
        # Looked up again: another process may have upgraded it while this one waited.
        version = connection.scalar(sa.text(_VERSION)) if VERSION_TABLE in tables else None
        if version == HEAD:
            return
        if version is not None and version not in REVISIONS:
            raise UsageError(
                f"The ledger {database.where} was written by a newer deploykit "
                f"(its tables are at {version}, this kit knows {HEAD}).",
                next_step="pip install --upgrade deploykit",
            )
        if version is None and tables and database.is_sqlite:
            raise UsageError(
                f"{database.where} is a database, but not a ledger (it holds {', '.join(sorted(tables)[:3])}).",
                next_step="give the ledger a path of its own",
            )
        _upgrade(connection)


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    command.upgrade(config, "head")
