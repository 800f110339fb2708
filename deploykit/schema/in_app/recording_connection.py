"""The connection that a recorded upgrade gets: it accepts statements and returns nothing."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from sqlalchemy import inspection
from sqlalchemy.engine.mock import MockConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .recorder import Recorder


class Answer:
    """The result of a recorded statement. Any access to it counts as a query of the database."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __getattr__(self, name: str) -> Any:
        raise self._recorder.ask(f"result.{name}")

    def __iter__(self) -> Iterator[Any]:
        raise self._recorder.ask("rows of a result")

    def __getitem__(self, item: Any) -> Any:
        raise self._recorder.ask("rows of a result")

    def __bool__(self) -> bool:
        raise self._recorder.ask("a result")


class RecordingConnection(MockConnection):
    """A connection without a database, which records its statements."""

    closed = False

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder.dialect, self.note)
        self.recorder = recorder

    def note(self, statement: Any, *_: Any, **__: Any) -> Answer:
        self.recorder.statement(statement)
        return Answer(self.recorder)

    def exec_driver_sql(self, statement: str, *_: Any, **__: Any) -> Answer:
        return self.note(statement)

    def in_transaction(self) -> bool:
        return False

    def begin(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    begin_nested = begin

    def commit(self) -> None: ...

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise self.recorder.ask(f"connection.{name}")


def _inspected(connection: RecordingConnection) -> Any:
    raise connection.recorder.ask("sqlalchemy.inspect")


# `inspect(bind)` looks up the class of its argument.
# Without an entry it raises its own error, which an upgrade may catch.
_registrars = getattr(inspection, "_registrars", None)
if isinstance(_registrars, dict):
    _registrars[RecordingConnection] = _inspected
