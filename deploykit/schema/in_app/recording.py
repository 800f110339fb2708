"""Run a revision's `upgrade()` without a database and record what it would do.

Every operation goes through one method, `invoke`, which is replaced. Statements executed on the connection are recorded
too. An upgrade that reads from the database can't be known this way: it is `unknown`, never safe.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from .operation_descriptions import describe
from .recorder import NeedsDatabase, Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from sqlalchemy.engine import URL


def record(module: ModuleType, url: URL) -> dict[str, Any]:
    """Return what the revision's upgrade would do: `operations`, and `unknown` (null, or why they are incomplete)."""
    recorder = Recorder(url.get_dialect()())
    with contextlib.suppress(NeedsDatabase), recording(recorder):
        try:
            module.upgrade()
        except NeedsDatabase:
            raise
        except Exception as error:  # noqa: BLE001 - the application's code may raise anything
            recorder.doubt(f"it can't be run without a database: {type(error).__name__}: {error}")
    return {"operations": recorder.operations, "unknown": recorder.unknown or None}


@contextlib.contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Record operations instead of running them. Meanwhile no engine can connect."""
    from alembic.operations import Operations
    from alembic.operations.base import AbstractOperations
    from alembic.operations.batch import BatchOperationsImpl
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy.engine import Engine
    from sqlalchemy.pool import Pool

    from .recording_connection import RecordingConnection

    connection: Any = RecordingConnection(recorder)  # it has what Alembic uses here
    context = MigrationContext.configure(connection=connection)
    invoke = AbstractOperations.invoke

    def note(self: AbstractOperations, operation: Any) -> Any:
        described = describe(operation, recorder.dialect)
        if described is None:
            # An operation of a plug-in: its implementation is made of Alembic's own operations, or executes SQL.
            return invoke(self, operation)
        recorder.operation(operation, invoke)
        for item in described:
            if "statement" in item:
                recorder.statement(item["statement"])
            else:
                recorder.add([item])
        return (
            operation.to_table(context)
            if hasattr(operation, "to_table") and described[0]["kind"] == "create_table"
            else None
        )

    def refuse(*_: Any, **__: Any) -> Any:
        raise recorder.ask("a connection of its own")

    @contextlib.contextmanager
    def autocommit(_: MigrationContext) -> Iterator[None]:
        recorder.autocommit = True
        try:
            yield
        finally:
            recorder.autocommit = False

    def nothing(*_: Any, **__: Any) -> None:
        return None

    operations = Operations(context)
    with _replaced(
        (AbstractOperations, "invoke", note),
        (BatchOperationsImpl, "flush", nothing),
        (MigrationContext, "autocommit_block", autocommit),
        (Engine, "raw_connection", refuse),
        (Pool, "connect", refuse),
    ):
        operations._install_proxy()  # noqa: SLF001 - `Operations.context` leaves the proxy behind on an exception
        try:
            yield
        finally:
            operations._remove_proxy()  # noqa: SLF001


@contextlib.contextmanager
def _replaced(*replacements: tuple[Any, str, Any]) -> Iterator[None]:
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in replacements]
    for owner, name, value in replacements:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
