"""Records what an `upgrade()` would do, statement by statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .statements import classify

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Dialect

__all__ = ["NeedsDatabase", "Recorder"]


class NeedsDatabase(Exception):
    """The upgrade queried the database."""


class Recorder:
    """The operations of one upgrade so far. `unknown` is why they may be incomplete; empty when they are complete."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.operations: list[dict[str, Any]] = []
        self.unknown = ""
        self.autocommit = False

    def operation(self, operation: Any, invoke: Callable[[Any, Any], Any]) -> None:
        """Receive each operation of Alembic before it is described.

        `invoke(operations, operation)` is Alembic's own method.
        """

    def add(self, operations: list[dict[str, Any]]) -> None:
        for operation in operations:
            if operation["kind"] == "unknown":
                self.doubt(f"what this SQL changes is unknown: {operation['sql']}")
            self.operations.append(operation)

    def doubt(self, why: str) -> None:
        # The first reason stays, and it stays even if the upgrade catches the error that is raised with it.
        self.unknown = self.unknown or why

    def statement(self, statement: Any) -> None:
        if isinstance(statement, str):
            text = statement
        else:
            try:
                text = str(statement.compile(dialect=self.dialect))
            except Exception as error:  # noqa: BLE001 - the application's own constructs may raise anything
                self.doubt(f"a statement can't be read: {type(error).__name__}: {error}")
                return
        self.add(classify(text))

    def ask(self, what: str) -> NeedsDatabase:
        self.doubt(f"it reads from the database ({what})")
        return NeedsDatabase(self.unknown)
