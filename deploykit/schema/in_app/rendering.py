"""Every revision with the SQL that it would send to PostgreSQL, rendered by Alembic without a database.

It extends `recording`: each operation also goes through Alembic's own offline mode. So the lint sees the SQL that
Alembic writes, and the line of the revision that asked for it.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .alembic_environment import MigrationError, database_url, with_connection
from .inspection import branches, load_scripts
from .recorder import NeedsDatabase, Recorder
from .recording import recording

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, ModuleType

    from alembic.script import Script
    from sqlalchemy.engine import Connection


_OTHER_TABLES = {
    "rename_table": "to",
    "split_table": "to",
    "move_column": "to",
    "attach_partition": "partition",
    "detach_partition": "partition",
}
"""The option of a declared change that names a second table."""


class Renderer(Recorder):
    """The SQL of one upgrade or downgrade: steps, each with the line that asked for it."""

    def __init__(self, path: str, *, other_database: bool = False) -> None:
        from alembic.operations import Operations
        from alembic.runtime.migration import MigrationContext

        # `$1` for what has no value offline: PostgreSQL's grammar reads that, and not a driver's `%(name)s`.
        dialect = _dialect(other_database=other_database, paramstyle="numeric_dollar")
        super().__init__(dialect)
        self.path = path
        self.steps: list[dict[str, Any]] = []
        self.declared: list[dict[str, Any]] = []
        self._buffer = io.StringIO()
        options = {"as_sql": True, "output_buffer": self._buffer}
        self._offline = Operations(MigrationContext.configure(dialect=dialect, opts=options))

    def operation(self, operation: Any, invoke: Callable[[Any, Any], Any]) -> None:
        from alembic.operations import ops

        if isinstance(operation, ops.ExecuteSQLOp):
            return  # it comes again as a statement
        kind = type(operation).__name__.removesuffix("Op").lower()
        if kind in {"expand", "contract", "undo", "reopen"}:
            # What these come to depends on the database, and is safe by construction.
            change = getattr(operation, "change", None)
            others = _OTHER_TABLES.get(change.kind, "") if change else ""
            tables = [change.table, *([change.options[others]] if others else [])] if change else []
            self.declared.append({"kind": kind, "tables": tables, "line": self._line()})
            return
        if isinstance(operation, ops.BulkInsertOp):
            # The rows say nothing about safety, and their values may have no literal form.
            self._add(f"INSERT INTO {self._name(operation.table)} DEFAULT VALUES")
            return
        self._buffer.seek(0)
        self._buffer.truncate()
        try:
            invoke(self._offline, operation)
        except Exception as error:  # noqa: BLE001 - types of the application may raise anything
            self.doubt(f"an operation can't be rendered without a database: {type(error).__name__}: {error}")
        self._add(self._buffer.getvalue())

    def add(self, operations: list[dict[str, Any]]) -> None:
        """Add to the last step what an operation knows beyond its SQL: the type that a column had."""
        for operation in operations:
            if operation.get("existing_type") and self.steps:
                known = self.steps[-1].setdefault("existing", {})
                known[operation["column"]] = operation["existing_type"]

    def statement(self, statement: Any) -> None:
        try:
            self._add(self._text(statement))
        except Exception as error:  # noqa: BLE001 - the application's own constructs may raise anything
            self.doubt(f"a statement can't be read: {type(error).__name__}: {error}")

    def _text(self, statement: Any) -> str:
        from sqlalchemy import text
        from sqlalchemy.exc import CompileError
        from sqlalchemy.schema import DDLElement

        if isinstance(statement, str):
            return str(text(statement).compile(dialect=self.dialect))
        if isinstance(statement, DDLElement):
            return str(statement.compile(dialect=self.dialect))
        try:
            return str(statement.compile(dialect=self.dialect, compile_kwargs={"literal_binds": True}))
        except (CompileError, NotImplementedError):
            return str(statement.compile(dialect=self.dialect))

    def _name(self, table: Any) -> str:
        return str(self.dialect.identifier_preparer.format_table(table))

    def _add(self, sql: str) -> None:
        if sql.strip():
            self.steps.append({"sql": sql.strip(), "line": self._line(), "autocommit": self.autocommit})

    def _line(self) -> int:
        # The cheap way to the caller's line: `inspect` would read files for it.
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
        while frame is not None:
            if frame.f_code.co_filename == self.path:
                return frame.f_lineno
            frame = frame.f_back
        return 0


def _dialect(*, other_database: bool, **options: Any) -> Any:
    """Return PostgreSQL's dialect. With `other_database`, types that PostgreSQL lacks, such as TINYINT, become text."""
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.dialects.postgresql.base import PGTypeCompiler

    dialect = postgresql.dialect(**options)  # type: ignore[no-untyped-call]
    if other_database:

        class Lenient(PGTypeCompiler):
            # SQLAlchemy's raises.
            def visit_unsupported_compilation(self, *_: Any, **__: Any) -> str:  # type: ignore[override]
                return "text"

            visit_ENUM = visit_enum = visit_unsupported_compilation  # noqa: N815 - SQLAlchemy's names

        dialect.type_compiler_instance = dialect.type_compiler = Lenient(dialect)
    return dialect


def render_migrations(
    migrations: str, variable: str, *, ask: bool = False, metadata: str = "", other_database: bool = False
) -> dict[str, Any]:
    """Return heads, and every revision in the order in which they are applied, as a JSON object.

    With `ask` it queries the database for its version. `metadata` is `module:attribute` of the application's tables;
    `models` then has their SQL. Raises MigrationError for anything that can't be loaded or queried.
    """
    script = load_scripts(migrations)
    heads = [script.get_revision(revision) for revision in script.get_heads()]
    answer: dict[str, Any] = {
        "branches": branches(heads),
        "server_version": None,
        "models": None,
        "env": (Path(script.dir) / "env.py").read_text(encoding="utf-8", errors="replace"),
        "folder": os.path.relpath(script.dir),
    }
    if ask:
        answer["server_version"] = _asked_version(variable)
    # Migrations must not find the database by themselves while they are only looked at.
    url = os.environ.pop(variable, None)
    answer["revisions"] = [
        _rendered(step, other_database=other_database) for step in reversed(list(script.walk_revisions()))
    ]
    if url is not None:
        os.environ[variable] = url  # the application may want to be configured when its tables are imported
    if metadata:
        answer["models"] = _models(metadata, other_database=other_database)
    return answer


def _asked_version(variable: str) -> int:
    url = database_url(variable)
    if url is None:
        raise MigrationError("variable", f"the variable {variable} with the database's URL is not set")
    if url.get_backend_name() != "postgresql":
        raise MigrationError("database", f"the database is {url.get_backend_name()}, and the rules are PostgreSQL's")

    def ask(connection: Connection) -> int:
        return int(str(connection.exec_driver_sql("SHOW server_version_num").scalar())) // 10_000

    found: int = with_connection(url, ask)
    return found


def _rendered(step: Script, *, other_database: bool) -> dict[str, Any]:
    module = step.module
    return {
        "revision": step.revision,
        "down": [*_listed(step.down_revision), *_listed(step.dependencies)],
        "message": step.doc or "",
        "path": os.path.relpath(step.path),
        "labels": sorted(step.branch_labels),
        "upgrade": _direction(module, "upgrade", other_database=other_database),
        "downgrade": _direction(module, "downgrade", other_database=other_database),
    }


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _direction(module: ModuleType, name: str, *, other_database: bool) -> dict[str, Any]:
    work = getattr(module, name, None)
    if work is None:
        missing = "it has no upgrade()" if name == "upgrade" else None
        return {"steps": [], "unknown": missing}
    renderer = Renderer(str(module.__file__), other_database=other_database)
    with contextlib.suppress(NeedsDatabase), recording(renderer):
        try:
            work()
        except NeedsDatabase:
            raise
        except NotImplementedError:
            if name == "upgrade":
                renderer.doubt("it is not implemented")
        except Exception as error:  # noqa: BLE001 - the application's code may raise anything
            renderer.doubt(f"it can't be run without a database: {type(error).__name__}: {error}")
    return {
        "steps": renderer.steps,
        "declared": renderer.declared,
        "unknown": renderer.unknown or None,
    }


def _models(place: str, *, other_database: bool) -> list[str]:
    """Return the statements that create the application's tables and indexes."""
    from sqlalchemy.schema import CreateIndex, CreateTable

    module_name, _, attributes = place.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for attribute in filter(None, attributes.split(".")):
            found = getattr(found, attribute)
        found = getattr(found, "metadata", found)
        dialect = _dialect(other_database=other_database)
        made = [str(CreateTable(table).compile(dialect=dialect)) for table in found.sorted_tables]
        made += [
            str(CreateIndex(index).compile(dialect=dialect))
            for table in found.sorted_tables
            for index in sorted(table.indexes, key=lambda index: str(index.name))
        ]
    except Exception as error:
        reason = re.sub(r"\s+", " ", f"{type(error).__name__}: {error}")
        raise MigrationError("metadata", f"the application's tables, {place}, can't be loaded: {reason}") from error
    return made
