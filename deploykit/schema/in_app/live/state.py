"""The ledger of changes in the application's own database, schema `deploykit`.

It is not part of the kit's ledger for two reasons. The contract operation has to refuse under bare `alembic upgrade
heads` too. And a batch's cursor is written in the transaction of its rows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..changes.model import Change, Steps, steps_from_json, steps_to_json
from ..changes.sql import literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .session import Session

__all__ = ["SCHEMA", "Known", "State"]

SCHEMA = "deploykit"
_TABLES = (
    f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.change (key text PRIMARY KEY, declaration text NOT NULL, steps text "
    "NOT NULL, "
    "checksum text NOT NULL, search_path text NOT NULL, "
    "phase text NOT NULL, revision text NOT NULL DEFAULT '', run text NOT NULL DEFAULT '', "
    "declared_at timestamptz NOT NULL DEFAULT now(), expanded_at timestamptz, filled_at timestamptz, "
    "verified_at timestamptz, "
    "contracted_at timestamptz, undone_at timestamptz)",
    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.step (key text NOT NULL REFERENCES {SCHEMA}.change ON DELETE CASCADE, "
    "program text NOT NULL, "
    "number int NOT NULL, status text NOT NULL, rows bigint NOT NULL DEFAULT 0, total bigint NOT NULL DEFAULT 0, "
    "held_ms double precision NOT NULL DEFAULT 0, attempts int NOT NULL DEFAULT 0, note text NOT NULL DEFAULT '', "
    "started_at timestamptz NOT NULL DEFAULT now(), finished_at timestamptz, PRIMARY KEY (key, program, number))",
    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.range (key text NOT NULL REFERENCES {SCHEMA}.change ON DELETE "
    "CASCADE, program text NOT NULL, "
    "number int NOT NULL, part int NOT NULL, relation text NOT NULL, lower text NOT NULL DEFAULT '', upper "
    "text NOT NULL DEFAULT '', "
    "cursor text NOT NULL DEFAULT '', rows bigint NOT NULL DEFAULT 0, seen bigint NOT NULL DEFAULT 0, bad "
    "bigint NOT NULL DEFAULT 0, "
    "checksums text NOT NULL DEFAULT '', done boolean NOT NULL DEFAULT FALSE, PRIMARY KEY (key, program, "
    "number, part))",
    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.mismatch (key text NOT NULL REFERENCES {SCHEMA}.change ON DELETE "
    "CASCADE, number int NOT NULL, "
    "row_key text NOT NULL, old text, new text)",
    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.release (app text NOT NULL, environment text NOT NULL, id text NOT "
    "NULL, version text NOT NULL, "
    "changes text NOT NULL, running boolean NOT NULL, seen_at timestamptz NOT NULL DEFAULT now(), ended_at "
    "timestamptz, "
    "PRIMARY KEY (app, environment, id))",
    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.setting (name text PRIMARY KEY, value text NOT NULL)",
    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.restore_point (taken_at timestamptz NOT NULL, what text NOT NULL)",
    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.event (at timestamptz NOT NULL DEFAULT clock_timestamp(), who text "
    "NOT NULL DEFAULT current_user, "
    "key text NOT NULL, what text NOT NULL, reason text NOT NULL DEFAULT '')",
)


@dataclass(frozen=True)
class Known:
    """A change as stored. Times are the database's own, None if that has not happened yet.

    `search_path` is the one of expand, as SQL. All its statements run with it: what the declaration and the catalog
    name without a schema stays the same thing.
    """

    change: Change
    steps: Steps
    phase: str
    revision: str
    run: str
    checksum: str
    search_path: str
    times: Mapping[str, Any]

    @property
    def key(self) -> str:
        return self.change.key


class State:
    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def exists(self) -> bool:
        return bool(self._session.value(f"SELECT to_regclass('{SCHEMA}.change') IS NOT NULL"))

    def prepare(self) -> None:
        """Create the tables if they are missing. The caller holds the lock (see `runner.only_one`)."""
        if self.exists and self._session.value(f"SELECT to_regclass('{SCHEMA}.event') IS NOT NULL"):
            return
        with self._session.transaction():
            for statement in _TABLES:
                self._session.run(statement)

    def get(self, key: str) -> Known | None:
        return next(iter(self._read(f"WHERE key = {literal(key)}")), None)

    def all(self) -> list[Known]:
        return self._read("") if self.exists else []

    def _read(self, where: str) -> list[Known]:
        names = ("declared_at", "expanded_at", "filled_at", "verified_at", "contracted_at", "undone_at")
        rows = self._session.rows(
            f"SELECT declaration, steps, phase, revision, run, checksum, search_path, {', '.join(names)} FROM "
            f"{SCHEMA}.change {where} ORDER BY declared_at, key"
        )
        return [
            Known(
                change=Change.from_json(row[0]),
                steps=steps_from_json(row[1]),
                phase=row[2],
                revision=row[3],
                run=row[4],
                checksum=row[5],
                search_path=row[6],
                times=dict(zip(names, row[7:], strict=True)),
            )
            for row in rows
        ]

    def declare(self, change: Change, steps: Steps, search_path: str, revision: str, run: str) -> None:
        """Store the steps of the change before any of them runs; an undone change is declared again."""
        values = {
            "key": change.key,
            "declaration": change.to_json(),
            "steps": steps_to_json(steps),
            "checksum": checksum(change),
            "search_path": search_path,
            "phase": "planned",
            "revision": revision,
            "run": run,
        }
        with self._session.transaction():
            self._session.run(
                f"DELETE FROM {SCHEMA}.change WHERE key = {literal(change.key)} AND phase IN ('planned', 'undone')"
            )
            self._session.run(
                f"INSERT INTO {SCHEMA}.change ({', '.join(values)}) VALUES ({', '.join(map(literal, values.values()))})"
            )

    def phase_sql(self, key: str, phase: str) -> str:
        """Return the statement that sets the phase, for the transaction that completes it."""
        stamp = {
            "expanded": ", expanded_at = coalesce(expanded_at, now())",
            "filled": ", filled_at = now()",
            "contracted": ", contracted_at = now()",
            "undone": ", undone_at = now()",
        }.get(phase, "")
        lost = ", verified_at = NULL" if phase in {"filling", "reopening", "undoing"} else ""
        return f"UPDATE {SCHEMA}.change SET phase = {literal(phase)}{stamp}{lost} WHERE key = {literal(key)}"

    def verified_sql(self, key: str, *, held: bool) -> str:
        return f"UPDATE {SCHEMA}.change SET verified_at = {'now()' if held else 'NULL'} WHERE key = {literal(key)}"

    def differs_sql(self, key: str) -> str:
        """Return the statement for rows that differ at contract: it has not begun, and its gate is closed."""
        return f"UPDATE {SCHEMA}.change SET phase = 'filled', verified_at = NULL WHERE key = {literal(key)}"

    def half_compared(self, key: str, steps: int) -> bool:
        """Whether a comparison of so many steps was begun within a day, is not done, and has found nothing so far."""
        where = f"WHERE key = {literal(key)} AND program = 'verify'"
        row = self._session.rows(
            "SELECT count(*), count(*) FILTER (WHERE status = 'done'), min(started_at) > now() - interval '1 day', "
            f"(SELECT coalesce(sum(bad), 0) FROM {SCHEMA}.range {where}) FROM {SCHEMA}.step {where}"
        )[0]
        begun, done, recent, bad = row
        return bool(begun and done < steps and recent and not bad)

    def mismatched(self, key: str) -> int:
        return int(
            self._session.value(
                f"SELECT coalesce(sum(bad), 0) FROM {SCHEMA}.range WHERE key = {literal(key)} AND program = 'verify'"
            )
        )

    def forget_steps(self, key: str, program: str) -> tuple[str, ...]:
        where = f"WHERE key = {literal(key)} AND program = {literal(program)}"
        return (f"DELETE FROM {SCHEMA}.step {where}", f"DELETE FROM {SCHEMA}.range {where}")

    def done(self, key: str, program: str) -> dict[int, str]:
        """Return the status of each step that was begun."""
        rows = self._session.rows(
            f"SELECT number, status FROM {SCHEMA}.step WHERE key = {literal(key)} AND program = {literal(program)}"
        )
        return {int(row[0]): str(row[1]) for row in rows}

    def begin_sql(self, key: str, program: str, number: int) -> str:
        return (
            f"INSERT INTO {SCHEMA}.step (key, program, number, status) VALUES ({literal(key)}, "
            f"{literal(program)}, {number}, 'begun') "
            "ON CONFLICT (key, program, number) DO NOTHING"
        )

    def end_sql(self, key: str, program: str, number: int, **values: Any) -> str:
        more = "".join(
            f", {name} = {literal(value) if isinstance(value, str) else value}" for name, value in values.items()
        )
        return (
            f"UPDATE {SCHEMA}.step SET status = 'done', finished_at = clock_timestamp(){more} "
            f"WHERE key = {literal(key)} AND program = {literal(program)} AND number = {number}"
        )

    def event(self, key: str, what: str, reason: str = "") -> None:
        self._session.run(
            f"INSERT INTO {SCHEMA}.event (key, what, reason) VALUES ({literal(key)}, {literal(what)}, "
            f"{literal(reason)})"
        )

    def settings(self) -> dict[str, str]:
        return {row[0]: row[1] for row in self._session.rows(f"SELECT name, value FROM {SCHEMA}.setting")}

    def set(self, **values: str) -> None:
        for name, value in values.items():
            self._session.run(
                f"INSERT INTO {SCHEMA}.setting VALUES ({literal(name)}, {literal(value)}) ON CONFLICT (name) DO "
                "UPDATE SET value = excluded.value"
            )

    def steps_of(self, key: str) -> Sequence[Sequence[Any]]:
        return self._session.rows(
            "SELECT program, number, status, rows, total, held_ms, attempts, note, extract(epoch FROM "
            "coalesce(finished_at, clock_timestamp()) - started_at)::float8 "
            f"FROM {SCHEMA}.step WHERE key = {literal(key)} ORDER BY started_at, number"
        )


def checksum(change: Change) -> str:
    """Return the checksum of a declaration. It reveals a revision that was edited after it was applied."""
    return hashlib.sha256(change.to_json().encode()).hexdigest()
