"""The database that a path or a URL names: SQLite in a file, or PostgreSQL on a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from deploykit.model import UsageError

if TYPE_CHECKING:
    from deploykit.ledger.database import Database

__all__ = ["open_database"]


def open_database(where: str | os.PathLike[str], *, busy_seconds: float) -> Database:
    """Connects to nothing yet, but makes SQLite's file. `where` is a path, `sqlite:///PATH`, or a URL of PostgreSQL
    (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS).

    Raises UsageError on a URL that can't be used, DeploykitError when the file can't be made.
    """
    text = os.fspath(where)
    scheme, there, rest = text.partition("://")
    backend = scheme.partition("+")[0].lower()
    if not there or backend == "sqlite":
        from deploykit.ledger.sqlite import SqliteDatabase

        path = rest.partition("?")[0].removeprefix("/") if there else text
        if path in {"", ":memory:"}:
            raise UsageError("A ledger in memory would be forgotten at once.", next_step="give the ledger a path")
        return SqliteDatabase(Path(path), busy_seconds)
    if backend in {"postgresql", "postgres"}:
        from deploykit.ledger.postgresql import PostgresqlDatabase

        return PostgresqlDatabase(f"postgresql://{rest}", busy_seconds)
    if not backend.isidentifier() or not rest:
        # The URL isn't shown, for it may hold a password.
        raise UsageError("The ledger's URL can't be read.", next_step="write it as postgresql://user@host/database")
    raise UsageError(
        f"The ledger can't be kept in {backend}: only SQLite and PostgreSQL can hold it.",
        next_step="give the ledger a path, or a URL like postgresql://user@host/database",
    )
