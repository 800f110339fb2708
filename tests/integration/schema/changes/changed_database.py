"""A table under writers of two shapes, while a change goes through its life."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from sqlalchemy import create_engine, pool

from deploykit.schema.in_app.changes.operations import load
from deploykit.schema.in_app.live.ddl import Limits
from deploykit.schema.in_app.live.runner import Runner
from deploykit.schema.in_app.live.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

load()
SEED = 900
WRITERS = 2
ERRORS_SHOWN = 5
CHUNK = 80
WRITER = "a writer of the application"
"""The name that its sessions have."""


@dataclass(frozen=True)
class Shape:
    """Statements of one version of the application. `v` is the row's value as a whole number, whatever the columns
    make of it.

    `insert` answers the id, `read` the value by id. Empty: this version does not do that.
    """

    insert: str
    update: str
    read: str
    delete: str = ""
    upsert: str = ""


@dataclass(frozen=True)
class Case:
    """An operation: the tables before, its declaration, and both versions.

    `agree` is a query that finds rows that are out of step.
    """

    name: str
    setup: str
    declare: Callable[[], Any]
    old: Shape
    new: Shape | None = None
    agree: str = ""
    tables: tuple[str, ...] = ("t",)
    lost: bool = False
    """The old values do not come back after contract."""
    reopens: bool = True
    versions: tuple[int, ...] = (15, 18)
    late: bool = False
    """New writers see the old rows only when they are filled: until then they have rows of their own."""
    quiet: bool = False
    """Old writers stop before expand: the operation is one that they would not survive, and that is said of it."""


class Writer(threading.Thread):
    """Inserts, updates and deletes rows of its own at full speed, and knows what each must be."""

    def __init__(self, url: str, shape: Shape, number: int, owned: list[int]) -> None:
        super().__init__(daemon=True, name=f"writer {number}")
        self.url, self.shape = url, shape
        self.random = random.Random(number)
        self.model: dict[int, int | None] = dict.fromkeys(owned)  # None: not written yet by this one
        self.gone: set[int] = set()
        self.errors: list[str] = []
        self.done = 0
        self._ended = threading.Event()

    def run(self) -> None:
        with psycopg.connect(
            self.url, autocommit=True, options="-c statement_timeout=15s", application_name=WRITER
        ) as connection:
            while not self._ended.is_set():
                try:
                    self._one(connection)
                    self.done += 1
                except (psycopg.Error, AssertionError) as error:
                    self.errors.append(f"{type(error).__name__}: {error}")
                    if len(self.errors) > ERRORS_SHOWN or connection.closed:
                        return

    def _one(self, connection: psycopg.Connection) -> None:
        what, value = self.random.random(), self.random.randrange(1, 900_000)
        prepare = self.random.random() < 0.5
        with connection.transaction():
            if what < 0.45 or not self.model:
                row = connection.execute(self.shape.insert, {"v": value}, prepare=prepare).fetchone()
                written: tuple[int, int | None] = (row[0], value)
            elif what < 0.9 or not self.shape.delete:
                key = self.random.choice(list(self.model))
                # Every third one as an upsert of a row that is there, where the version has such a statement.
                statement = self.shape.upsert if self.shape.upsert and what < 0.6 else self.shape.update
                count = connection.execute(statement, {"v": value, "id": key}, prepare=prepare).rowcount
                assert count == 1, (statement, key)
                written = (key, value)
            else:
                key = self.random.choice(list(self.model))
                connection.execute(self.shape.delete, {"id": key}, prepare=prepare)
                written = (key, None)
        if what >= 0.9 and self.shape.delete:
            self.model.pop(written[0], None)
            self.gone.add(written[0])
        else:
            self.model[written[0]] = written[1]

    def stop(self) -> None:
        self._ended.set()
        self.join(20)
        assert not self.is_alive(), "a writer hangs"
        assert not self.errors, self.errors[:ERRORS_SHOWN]


@dataclass
class ChangedDatabase:
    url: str
    case: Case
    runner: Runner
    said: list[str]
    old: list[Writer] = field(default_factory=list)
    new: list[Writer] = field(default_factory=list)
    model: dict[int, int | None] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    seed: list[int] = field(default_factory=list)
    numbers: int = 0

    # Writers ----------------------------------------------------------------------------------------------------------

    def start_old(self) -> None:
        self.old += self._start(self.case.old)

    def start_new(self) -> None:
        if self.case.new is not None:
            known = self.runner.state.all()
            filled = not known or known[0].phase in {"filled", "contracting", "contracted", "reopening"}
            self.new += self._start(self.case.new, owning=filled or not self.case.late)

    def _start(self, shape: Shape, *, owning: bool = True) -> list[Writer]:
        made = []
        for _ in range(WRITERS):
            self.numbers += 1
            # Each row has one writer for good, whose model is then all there is to know of it.
            owned, self.seed = (self.seed[:CHUNK], self.seed[CHUNK:]) if owning else ([], self.seed)
            writer = Writer(self.url, shape, self.numbers, owned)
            writer.start()
            made.append(writer)
        return made

    def stop_old(self) -> None:
        self._stop(self.old)

    def stop_new(self) -> None:
        self._stop(self.new)

    def _stop(self, writers: list[Writer]) -> None:
        for writer in writers:
            writer.stop()
        for writer in writers:
            assert writer.done > 0, "a writer that wrote nothing shows nothing"
            self.model.update({key: value for key, value in writer.model.items() if value is not None})
            self.gone |= writer.gone
            for key in writer.gone:
                self.model.pop(key, None)
        writers.clear()

    def settle(self, writes: int = 10) -> None:
        """Let each writer write so many times more."""
        for writer in (*self.old, *self.new):
            before, deadline = writer.done, time.monotonic() + 10
            while writer.done < before + writes and writer.is_alive() and time.monotonic() < deadline:
                time.sleep(0.005)
            assert not writer.errors, writer.errors[:ERRORS_SHOWN]

    # Looking ----------------------------------------------------------------------------------------------------------

    def check(self, *shapes: Shape) -> None:
        """Each row that was written is what was written last, by each of the shapes; what was deleted is gone."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            if self.case.agree and len(shapes) > 1:
                assert connection.execute(self.case.agree).fetchall() == []
            for shape in shapes:
                # All rows in one statement: a question for each is what most of the time would go to.
                read = shape.read.replace("%(id)s", "wanted.key")
                each = "SELECT key, {} FROM unnest(%(keys)s::bigint[]) AS wanted (key)"
                asked = sql.SQL(each).format(sql.SQL(f"({read})"))
                answers = dict(connection.execute(asked, {"keys": list(self.model)}).fetchall())
                wrong = [(key, value, answers[key]) for key, value in self.model.items() if answers[key] != value]
                assert not wrong, (len(wrong), wrong[:5])
                asked = sql.SQL(each + " WHERE EXISTS ({})").format(sql.SQL("key"), sql.SQL(read))
                left = connection.execute(asked, {"keys": list(self.gone)}).fetchall()
                assert not left, left[:5]

    def definition(self) -> dict[str, Any]:
        """What the tables are, by the catalog: all that a way back has to bring again."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            found: dict[str, Any] = {}
            for table in self.case.tables:
                found[table] = {
                    "columns": (
                        connection.execute(
                            "SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin,"
                            " d.adrelid), a.attidentity::text FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid ="
                            " a.attrelid AND d.adnum = a.attnum WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND"
                            " NOT a.attisdropped ORDER BY 1",
                            [table],
                        ).fetchall()
                    ),
                    "indexes": (
                        connection.execute(
                            "SELECT pg_get_indexdef(indexrelid), indisvalid, indisprimary FROM pg_index WHERE indrelid"
                            " = %s::regclass ORDER BY 1",
                            [table],
                        ).fetchall()
                    ),
                    "constraints": (
                        connection.execute(
                            "SELECT conname, contype::text, pg_get_constraintdef(oid), convalidated FROM pg_constraint"
                            " WHERE conrelid = %s::regclass AND contype <> 'n' ORDER BY 1",
                            [table],
                        ).fetchall()
                    ),
                    "triggers": (
                        connection.execute(
                            "SELECT tgname, pg_get_triggerdef(oid), tgenabled::text FROM pg_trigger WHERE tgrelid ="
                            " %s::regclass AND NOT tgisinternal ORDER BY 1",
                            [table],
                        ).fetchall()
                    ),
                    "privileges": (
                        connection.execute(
                            "SELECT '' AS column, relowner::regrole::text, relacl::text FROM pg_class WHERE oid ="
                            " %s::regclass UNION ALL SELECT attname, '', ARRAY(SELECT x::text FROM unnest(attacl) x"
                            " ORDER BY 1)::text FROM pg_attribute WHERE attrelid = %s::regclass AND attacl IS NOT NULL"
                            " AND NOT attisdropped ORDER BY 1",
                            [table, table],
                        ).fetchall()
                    ),
                    "comments": (
                        connection.execute(
                            "SELECT coalesce(a.attname, ''), d.description FROM pg_description d LEFT JOIN pg_attribute"
                            " a ON a.attrelid = d.objoid AND a.attnum = d.objsubid AND d.objsubid > 0 WHERE d.classoid"
                            " = 'pg_class'::regclass AND d.objoid = %s::regclass ORDER BY 1",
                            [table],
                        ).fetchall()
                    ),
                    "sequences": (
                        connection.execute(
                            "SELECT s.relname, a.attname, d.deptype::text FROM pg_depend d JOIN pg_class s ON s.oid ="
                            " d.objid AND s.relkind = 'S' JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum ="
                            " d.refobjsubid WHERE d.classid = 'pg_class'::regclass AND d.refobjid = %s::regclass ORDER"
                            " BY 1",
                            [table],
                        ).fetchall()
                    ),
                    "statistics": (
                        connection.execute(
                            "SELECT stxname, pg_get_statisticsobjdef(oid) FROM pg_statistic_ext WHERE stxrelid ="
                            " %s::regclass ORDER BY 1",
                            [table],
                        ).fetchall()
                    ),
                }
            found["functions"] = connection.execute(
                "SELECT proname, CASE WHEN nspname = 'public' AND prokind <> 'a' THEN pg_get_functiondef(p.oid) END"
                " FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE nspname IN ('deploykit', 'public')"
                " ORDER BY 1"
            ).fetchall()
            found["tables"] = connection.execute(
                "SELECT relname, relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE"
                " nspname = 'public' AND relkind IN ('r', 'v', 'p', 'S') ORDER BY 1"
            ).fetchall()
            return found


def insert(connection: psycopg.Connection, case: Case, rows: int) -> list[int]:
    """Rows with the values 1, 2, … by the old version's own INSERT, all in one statement; returns their ids."""
    one = case.old.insert.replace("%(v)s", "v").replace("%%", "%")
    connection.execute("CREATE TEMPORARY TABLE IF NOT EXISTS inserted (id bigint, number int)")
    connection.execute(
        f"DO $rows$ DECLARE v int; made bigint; BEGIN FOR v IN 1..{rows} LOOP {one} INTO made; "
        "INSERT INTO inserted VALUES (made, v); END LOOP; END $rows$"
    )
    return [row[0] for row in connection.execute("SELECT id FROM inserted ORDER BY number").fetchall()]


@contextlib.contextmanager
def changed_database(url: str, case: Case, *, seed: int = SEED):
    """The tables with their first rows, and a runner; writers that still run at the end are ended."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(case.setup)
        ids = insert(connection, case, seed)
    engine = create_engine(
        url.replace("postgresql://", "postgresql+psycopg://"), poolclass=pool.NullPool, isolation_level="AUTOCOMMIT"
    )
    said: list[str] = []
    with engine.connect() as connection:
        runner = Runner(Session(connection), said.append, Limits(lock=0.4, total=60.0))
        found = ChangedDatabase(
            url, case, runner, said, seed=ids, model={key: number + 1 for number, key in enumerate(ids)}
        )
        try:
            yield found
        finally:
            for writer in (*found.old, *found.new):
                writer._ended.set()
            for writer in (*found.old, *found.new):
                writer.join(20)
