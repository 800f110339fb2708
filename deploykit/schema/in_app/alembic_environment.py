"""Alembic's configuration, its version table, and connections to the database."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Callable

    from alembic.config import Config
    from sqlalchemy.engine import URL, Connection

CONNECT_SECONDS = 5


class MigrationError(Exception):
    """An error that the reader can fix.

    `kind` is for programs: alembic, migrations, revisions, variable, database or lock.
    """

    def __init__(self, kind: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.kind = kind
        self.more = more

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "message": str(self), **self.more}


# PostgreSQL (server, database or role; reserved ones), MySQL. Not all drivers pass on a code for a refused connection.
_FULL = ("too many connections", "too many clients", "remaining connection slots", "Too many connections")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def complain(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _need(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise MigrationError(
                "alembic",
                f"{module} is not installed in the application's environment: add it to its requirements",
                next_step="add it, commit, and run it again",
            )


def configuration(migrations: str) -> Config:
    """Return Alembic's configuration for an `alembic.ini`, or for a folder with `env.py` and perhaps an ini.

    Raises MigrationError when Alembic is not installed or the path does not exist.
    """
    _need("sqlalchemy", "alembic")
    from alembic.config import Config

    path = Path(migrations).absolute()
    if path.is_dir():
        inner = path / "alembic.ini"  # where Flask-Migrate keeps it
        config = Config(str(inner)) if inner.is_file() else Config()
        config.set_main_option("script_location", str(path).replace("%", "%%"))
        if not config.get_main_option("path_separator"):
            config.set_main_option("path_separator", "os")
        return config
    if not path.is_file():
        raise MigrationError("migrations", f"there is no {migrations} in {Path.cwd()}")
    return Config(str(path))


def version_table(config: Config, folder: str) -> tuple[str, str | None]:
    """Return name and schema of the version table: from the ini, else from the text of env.py, else Alembic's defaults.

    env.py is not run, since it would connect to the database and may do anything else.
    """
    found = {name: config.get_main_option(name) or None for name in ("version_table", "version_table_schema")}
    try:
        tree = ast.parse((Path(folder) / "env.py").read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        tree = ast.Module(body=[], type_ignores=[])
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in found and not found[node.arg]:
            value = node.value.value if isinstance(node.value, ast.Constant) else None
            if isinstance(node.value, ast.Name):
                value = constants.get(node.value.id)
            found[node.arg] = value if isinstance(value, str) else None
    return found["version_table"] or "alembic_version", found["version_table_schema"]


def database_url(variable: str) -> URL | None:
    """Return the URL in the variable, with a driver that is installed; None when the variable is not set.

    Raises MigrationError when the text is no URL, or no driver is installed.
    """
    text = os.environ.get(variable, "").strip()
    if not text:
        return None
    _need("sqlalchemy")
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(re.sub(r"^postgres://", "postgresql://", text))
    except (ArgumentError, ValueError):
        # The text is not shown: it may hold a password.
        raise MigrationError("variable", f"the variable {variable} does not hold a database URL") from None
    if url.drivername == "postgresql":
        drivers = ("psycopg", "psycopg2", "asyncpg", "pg8000")
        driver = next((name for name in drivers if importlib.util.find_spec(name) is not None), None)
        if driver is None:
            raise MigrationError(
                "database", "no PostgreSQL driver is installed in the application's environment, such as psycopg"
            )
        url = url.set(drivername=f"postgresql+{driver}")
    return url


def with_connection(url: URL, work: Callable[[Connection], Any], *, autocommit: bool = False) -> Any:
    """Call `work` with a new connection, also through an asynchronous driver.

    Raises MigrationError if none can be opened.

    When all connections of the server are taken, it retries for `CONNECT_SECONDS`: a busy pool soon returns one.
    """
    deadline, opened, reported = time.monotonic() + CONNECT_SECONDS, False, False

    def noted(connection: Connection) -> Any:
        nonlocal opened
        opened = True
        return work(connection)

    while True:
        try:
            return _with_connection(url, noted, autocommit=autocommit)
        except MigrationError as error:
            if opened or not any(words in str(error) for words in _FULL):
                raise
            if time.monotonic() > deadline:
                raise MigrationError(
                    "database",
                    str(error),
                    next_step="make the application's pools smaller, or the server's max_connections larger; "
                    "then run it again",
                ) from None
            if not reported:
                say("waiting: all connections of the database are taken")
                reported = True
            time.sleep(0.5)  # a server does not announce free connections


def _with_connection(url: URL, work: Callable[[Connection], Any], *, autocommit: bool) -> Any:
    from sqlalchemy import exc, pool

    options: dict[str, Any] = {"poolclass": pool.NullPool}
    if autocommit:
        options["isolation_level"] = "AUTOCOMMIT"
    try:
        options["connect_args"] = _connect_arguments(url)
        if url.get_dialect().is_async:
            return _on_loop(url, options, work)
        from sqlalchemy import create_engine

        engine = create_engine(url, **options)
        with engine.connect() as connection:
            return work(connection)
    except (exc.NoSuchModuleError, ImportError) as error:
        raise MigrationError("database", f"no driver for {url.drivername}: {error}") from None
    except (exc.DBAPIError, OSError) as error:
        host = url.host or url.query.get("host", "")
        place = f"{host}{f':{url.port}' if url.port else ''}/{url.database or ''}"
        reached = (
            "can't be reached" if isinstance(error, (exc.OperationalError, exc.InterfaceError, OSError)) else "refuses"
        )
        raise MigrationError("database", f"the database {place} {reached}: {reason(error, url)}") from None


def _on_loop(url: URL, options: dict[str, Any], work: Callable[[Connection], Any]) -> Any:
    import asyncio

    from sqlalchemy.ext.asyncio import create_async_engine

    async def run() -> Any:
        engine = create_async_engine(url, **options)
        async with engine.connect() as connection:
            return await connection.run_sync(work)

    return asyncio.run(run())


def _connect_arguments(url: URL) -> dict[str, Any]:
    driver = url.get_driver_name()
    if driver in {"psycopg", "psycopg2", "pymysql", "mysqldb"} and "connect_timeout" not in url.query:
        return {"connect_timeout": CONNECT_SECONDS}
    return {"timeout": CONNECT_SECONDS} if driver in {"asyncpg", "pg8000"} else {}


def reason(error: BaseException, url: URL | None = None) -> str:
    """Return the database's own message on one line, without the statement, the driver's hints and the password."""
    original = getattr(error, "orig", None) or error
    text = " ".join(str(original).split()) or type(original).__name__
    password = str(url.password) if url is not None and url.password else ""
    for secret in {password, quote(password, safe=""), quote_plus(password)}:
        if len(secret) > 2:  # shorter ones would only tear words apart
            text = text.replace(secret, "***")
    return text if len(text) <= 600 else f"{text[:600]}…"
