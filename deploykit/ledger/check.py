"""Walk a chain, derive the tables again, and report every difference.

No value is trusted to have the right type: anyone who edits an SQLite file may put anything anywhere.
"""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deploykit.ledger.canonical import entry_hash
from deploykit.ledger.interface import ChainProblem, Entry
from deploykit.ledger.projections import RESTARTED, DeleteRow, InsertRow, derive, seal
from deploykit.ledger.queries import select
from deploykit.ledger.tables import CHAINS, ENTRIES, LOCKS, PROJECTIONS, Table

if TYPE_CHECKING:
    from deploykit.ledger.database import Connection, Database

__all__ = ["ADOPT", "check_chain", "link_problems"]

ADOPT = "adopt"
"""The name of the step that adopts a release from before this ledger (see `SqlLedger.begin`)."""
_BY_HEARTBEAT = {"heartbeat_at", "expires_at", "seal"}


def check_chain(
    database: Database, *, app: str, environment: str, anchors: Mapping[str, str] | Sequence[str]
) -> list[ChainProblem]:
    """All problems of the chain of one app in one environment. See `SqlLedger.check`."""
    walk = _Walk(app, environment)
    with database.read(snapshot=True) as connection, _lossless_text(connection):
        try:
            for row in _rows(connection, ENTRIES, app, environment, order="sequence"):
                if row["kind"] == RESTARTED:
                    walk.restart(row)
                walk.entry(row)
            walk.end(list(_rows(connection, CHAINS, app, environment)))
            for table in PROJECTIONS:
                walk.compare(table, list(_rows(connection, table, app, environment)))
            if database.is_sqlite:
                walk.integrity(connection)
        except sqlite3.DatabaseError as error:
            walk.found(0, f"the file can't be read to its end: {error}")
    walk.check_anchors(anchors)
    return walk.problems


def link_problems(scope: Mapping[str, Any], row: Mapping[str, Any], before: int, head: str) -> Iterator[str]:
    """What is wrong with a row as the entry that follows the one with the sequence `before` and the hash `head`."""
    sequence = row["sequence"]
    if sequence != before + 1:
        yield f"entry {before + 1} is missing: {sequence} follows {before}"
    if row["previous"] != head:
        yield f"entry {sequence} does not follow the entry before it: its link does not match"
    if row["hash"] != _hash_of(scope, row):
        yield f"entry {sequence} ({row['kind']}) was changed: its content does not match its hash"


class _Walk:
    """Walks along the entries, and holds the tables that they add up to so far: `{table: {key: row}}`."""

    def __init__(self, app: str, environment: str) -> None:
        self.problems: list[ChainProblem] = []
        self._scope: dict[str, Any] = {"app": app, "environment": environment}
        self._sequence = 0
        self._hash = ""
        self._hashes: set[object] = {""}
        self._derived: dict[str, dict[str, dict[str, Any]]] = {table.name: {} for table in PROJECTIONS}
        self._source: dict[tuple[str, str], int] = {}

    def found(self, sequence: object, message: str) -> None:
        self.problems.append(ChainProblem(sequence=sequence if isinstance(sequence, int) else 0, message=message))

    def restart(self, row: Mapping[str, Any]) -> None:
        """Forget all that was found so far: a person has decided that it does not count any more."""
        self.problems.clear()
        sequence = row["sequence"]
        self._sequence = sequence - 1 if isinstance(sequence, int) else self._sequence
        self._hash = row["previous"]
        self._hashes = {""}

    def entry(self, row: Mapping[str, Any]) -> None:
        sequence = row["sequence"]
        for message in link_problems(self._scope, row, self._sequence, self._hash):
            self.found(sequence, message)
        self._sequence = sequence if isinstance(sequence, int) else self._sequence + 1
        self._hash = row["hash"]
        self._hashes.add(row["hash"])
        try:
            payload = json.loads(row["payload"])
            if not isinstance(payload, dict):
                raise TypeError  # noqa: TRY301 (all unusable payloads end in one place)
            entry = Entry(**{name: row[name] for name in _FIELDS}, payload=payload)
            self._replay(entry)
        except (ArithmeticError, KeyError, TypeError, ValueError, RecursionError):
            self.found(sequence, f"entry {sequence} ({row['kind']}) says nothing that this kit understands")

    def _replay(self, entry: Entry) -> None:
        if entry.kind == "step.intended" and entry.payload["name"] == ADOPT:
            # This release is older than the ledger, so its anchor belongs to a chain that is lost. The entry contains
            # it.
            self._hashes.add(entry.payload["action"].get("anchor"))
        for change in derive(entry):
            table = self._derived[change.table.name]
            key = _key(change.key)
            match change:
                case InsertRow(_, columns, values):
                    table[key] = {**columns, **values}
                case DeleteRow(_, columns) if not columns:
                    table.clear()
                case DeleteRow():
                    table.pop(key, None)
                case _ if key in table:
                    table[key].update(change.values)
                case _:
                    self.found(entry.sequence, f"entry {entry.sequence} is about {key}, which no entry before it made")
            self._source[change.table.name, key] = entry.sequence

    def end(self, chains: list[Mapping[str, Any]]) -> None:
        known = (chains[0]["sequence"], chains[0]["hash"]) if chains else (0, "")
        if known != (self._sequence, self._hash):
            self.found(
                self._sequence,
                f"the chain ends at entry {self._sequence}, but {CHAINS.name} says that entry {known[0]} is its end",
            )

    def compare(self, table: Table, actual: list[Mapping[str, Any]]) -> None:
        derived = self._derived[table.name]
        names = table.key
        seen = set()
        for row in actual:
            key = _key({name: row[name] for name in names})
            seen.add(key)
            source = self._source.get((table.name, key), 0)
            if key not in derived:
                self.found(source, f"{table.name} has a row {key}that no entry accounts for")
            else:
                self._columns(table, key, row, derived[key])
            if table is LOCKS and row["seal"] != _seal_of(row):
                self.found(source, f"{table.name}: the lease was changed by hand")
        for key in derived.keys() - seen:
            self.found(self._source[table.name, key], f"{table.name} lacks the row {key}that the entries describe")

    def _columns(self, table: Table, key: str, row: Mapping[str, Any], derived: Mapping[str, Any]) -> None:
        for name, expected in derived.items():
            if table is LOCKS and name in _BY_HEARTBEAT:
                continue
            if repr(row[name]) != repr(expected):  # 1, 1.0 and True are equal, and yet not the same
                self.found(
                    self._source[table.name, key],
                    f"{table.name} {key}has {name} {_short(row[name])}, but the entries say {_short(expected)}",
                )

    def check_anchors(self, anchors: Mapping[str, str] | Sequence[str]) -> None:
        named = anchors if isinstance(anchors, Mapping) else {anchor: anchor for anchor in anchors}
        for name, anchor in named.items():
            if anchor not in self._hashes:
                seen = "" if name == anchor else f" of {name}"
                self.found(0, f"the anchor{seen} {anchor} is not in the chain: entries were cut off or rewritten")

    def integrity(self, connection: Connection) -> None:
        for (line,) in connection.run("PRAGMA integrity_check(10)"):
            if line != "ok":
                self.found(0, f"the file is damaged: {line}")


_FIELDS = ("sequence", "at", "kind", "release", "previous", "hash")


def _hash_of(scope: Mapping[str, Any], row: Mapping[str, Any]) -> str | None:
    """The hash that the row should have; None, which no row has, for what this kit can't have written."""
    texts = (row["kind"], row["release"], row["payload"], row["previous"])
    if type(row["sequence"]) is not int or not _is_time(row["at"]) or not all(type(text) is str for text in texts):
        return None
    return entry_hash(**scope, **{name: row[name] for name in (*_FIELDS[:-1], "payload")})


def _seal_of(row: Mapping[str, Any]) -> str | None:
    times = (row["heartbeat_at"], row["expires_at"])
    if type(row["token"]) is not int or not all(_is_time(at) for at in times):
        return None
    return seal(row["token"], *times)


def _is_time(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _key(columns: Mapping[str, Any]) -> str:
    return "".join(f"{_short(value)} " for value in columns.values())


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _rows(
    connection: Connection, table: Table, app: str, environment: str, *, order: str = ""
) -> Iterator[Mapping[str, Any]]:
    scope = {"app": app, "environment": environment}
    yield from connection.stream(select(table, scope, order=[order] if order else ()))


@contextlib.contextmanager
def _lossless_text(connection: Connection) -> Iterator[None]:
    """Let SQLite hand over text that is not UTF-8 (a flipped byte) rather than fail on it."""
    raw: object = connection.driver
    if not isinstance(raw, sqlite3.Connection):
        yield
        return
    raw.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    try:
        yield
    finally:
        raw.text_factory = str
