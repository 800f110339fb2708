"""The board's database: its address, its pool, and one bounded answer to "is it well?"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, ProgrammingError, SQLAlchemyError

from deploykit.board import tables

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Engine

__all__ = ["DatabaseUnavailableError", "cause", "check", "connect", "normalise"]

CONNECT_SECONDS = 2  # libpq knows no smaller limit


class DatabaseUnavailableError(Exception):
    """The database can't be used; the message says why in one sentence and holds no secret."""


def normalise(url: str) -> URL:
    """The URL as SQLAlchemy wants it, with psycopg 3 as the driver of every spelling of PostgreSQL.

    Raises DatabaseUnavailableError when it is missing or can't be read.
    """
    if not url:
        raise DatabaseUnavailableError("The variable DATABASE_URL is not set.")
    try:
        parsed = sqlalchemy.make_url(url)
    except (ArgumentError, ValueError):
        # Their messages quote the URL, and with it the password.
        raise DatabaseUnavailableError("The variable DATABASE_URL does not hold a database URL.") from None
    if parsed.drivername in {"postgres", "postgresql"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed


def connect(url: str) -> Engine:
    """A small pool that notices a restarted database before it hands a connection out. Nothing is opened yet."""
    parsed = normalise(url)
    try:
        if parsed.get_backend_name() == "sqlite":
            engine = sqlalchemy.create_engine(parsed, connect_args={"timeout": 5})
            event.listen(engine, "connect", _enforce_foreign_keys)
            return engine
        return sqlalchemy.create_engine(
            parsed,
            pool_size=4,
            max_overflow=4,
            pool_timeout=5,
            pool_pre_ping=True,
            pool_recycle=1800,
            connect_args={
                "connect_timeout": CONNECT_SECONDS,
                "tcp_user_timeout": 5000,
                "application_name": "release-board",
                "options": "-c statement_timeout=5000 -c lock_timeout=3000 -c timezone=UTC",
            },
        )
    except NoSuchModuleError:
        raise DatabaseUnavailableError(
            f"DATABASE_URL asks for {parsed.drivername}; the board works with postgresql and sqlite."
        ) from None
    except ModuleNotFoundError as error:
        raise DatabaseUnavailableError(f"The database driver {error.name} is not installed.") from None


def check(engine: Engine) -> None:
    """Read from a table of ours. Raises DatabaseUnavailableError with the cause."""
    try:
        with engine.connect() as connection:
            connection.execute(sqlalchemy.select(tables.apps.c.id).limit(1)).first()
    except SQLAlchemyError as error:
        raise DatabaseUnavailableError(cause(error, engine.url)) from error


def cause(error: SQLAlchemyError, url: URL | None) -> str:
    """One sentence for what went wrong, without statement, parameters or password."""
    original = getattr(error, "orig", None)
    said = (str(original or type(error).__name__).strip().splitlines() or [type(error).__name__])[0].strip()
    if url is not None and url.password:
        said = said.replace(str(url.password), "***")
    if isinstance(error, ProgrammingError | OperationalError) and (
        getattr(original, "sqlstate", None) == "42P01" or said.startswith("no such table")
    ):
        return "The board's tables are missing: run its migrations."
    if isinstance(error, sqlalchemy.exc.TimeoutError):
        return "All connections to the database are in use."
    return f"The database does not answer: {said.rstrip('.')[:300]}."


def _enforce_foreign_keys(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
