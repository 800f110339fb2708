"""How long each operation holds the locks that keep readers or writers out, seen from outside in pg_locks. Prints a
table.

    python tests/integration/schema/changes/schema_held.py URL [ROWS [CASE …]]    # a PostgreSQL of no worth, on this
    machine

A session of its own reads pg_locks all the time. A lock was there from its first sample to its last (`least`), and at
most from the sample before to the one after (`most`). Of two locks that follow one another each counts for itself:
they are told by their transactions.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

sys.path.insert(0, str(Path(__file__).parent))

import psycopg
from changed_database import WRITER, Case, ChangedDatabase, changed_database, insert
from schema_cases import CASES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploykit.schema.in_app.changes.model import Change

ROWS = 200_000
FEWER = {"add_exclusion": 5_000}
"""What the kit refuses for more."""
MODES = ("AccessExclusiveLock", "ExclusiveLock", "ShareRowExclusiveLock", "ShareLock")
"""Each of them keeps writers out, the first one readers, too."""
LONGEST = 500
"""Milliseconds.

The work takes some 10; the rest is for a machine that is busy, and for the wait for the lock on another table.
"""
PROBE = 150
"""More than what a busy machine keeps the sampler from looking."""
_SWITCH = 0x0DEC
"""The sampler works while somebody holds this advisory lock."""

# The wait is short enough for a resolution below a millisecond, and leaves the processor to those who are watched.
# Each turn is a transaction: an older snapshot would hold up CREATE INDEX CONCURRENTLY. Who it is, and what relation,
# is asked once for each lock. A transaction that ends gives up its number before its locks (`3/0`): such a lock is
# the one that the same process had a moment ago.
_SAMPLER = f"""
DO $sampler$
DECLARE
  held jsonb := '{{}}';
  found text[];
  wanted boolean;
  goes_on boolean;
  item text;
  part text[];
  known jsonb;
  began float8;
  ended float8;
  earlier float8;
  last float8;
  first float8 := extract(epoch FROM clock_timestamp());
  gap float8 := 0;
  samples int := 0;
BEGIN
  LOOP
    began := extract(epoch FROM clock_timestamp());
    SELECT array_agg(concat_ws(' ', l.pid, l.virtualtransaction, l.relation, l.mode)) FILTER (WHERE l.locktype = 'relation'),
      coalesce(bool_or(l.locktype = 'advisory'), FALSE)
      INTO found, goes_on FROM pg_locks l
      WHERE l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (l.locktype = 'relation' AND l.mode IN ({", ".join(f"'{mode}'" for mode in MODES)})
        OR l.locktype = 'advisory' AND l.objid = {_SWITCH});
    IF array_to_string(found, ',') LIKE '%/0 %' THEN
      SELECT array_agg(coalesce(h.own, f.seen)) FILTER (WHERE h.own IS NOT NULL OR f.seen NOT LIKE '%/0 %') INTO found
      FROM unnest(found) f(seen) LEFT JOIN jsonb_object_keys(held) h(own) ON f.seen LIKE '%/0 %'
        AND regexp_replace(h.own, ' \\S+', '') = regexp_replace(f.seen, ' \\S+', '');
    END IF;
    ended := extract(epoch FROM clock_timestamp());
    earlier := coalesce(last, began);
    gap := greatest(gap, began - earlier);
    samples := samples + 1;
    FOR item, known IN SELECT * FROM jsonb_each(held) LOOP
      IF item = ANY(found) THEN
        held := jsonb_set(held, ARRAY[item, 'until'], to_jsonb(began));
      ELSE
        held := held - item;
        IF (known ->> 'counts')::boolean THEN
          RAISE NOTICE '%', known || jsonb_build_object('most', ended - (known ->> 'before')::float8);
        END IF;
      END IF;
    END LOOP;
    FOREACH item IN ARRAY coalesce(found, '{{}}') LOOP
      IF NOT held ? item THEN
        part := string_to_array(item, ' ');
        SELECT jsonb_build_object('name', c.relname, 'mode', part[4], 'transaction', part[2], 'counts',
            (n.nspname = 'public' OR c.relname LIKE 'gate\\_%')
            AND EXISTS (SELECT FROM pg_stat_get_activity(part[1]::int) a WHERE a.application_name <> '{WRITER}'
              AND a.backend_type = 'client backend'))
          INTO known FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = part[3]::oid;
        known := coalesce(known, jsonb_build_object('counts', FALSE));
        held := held || jsonb_build_object(item, known || jsonb_build_object('before', earlier, 'since', ended, 'until', ended));
      END IF;
    END LOOP;
    last := began;
    EXIT WHEN NOT goes_on;
    COMMIT;
    PERFORM pg_sleep(0.0003);
  END LOOP;
  RAISE NOTICE '%', jsonb_build_object('samples', samples, 'seconds', ended - first, 'gap', gap);
END
$sampler$
"""


@dataclass(frozen=True)
class Held:
    """A lock: milliseconds that it was there at least and at most; `began` is the time of its first sample."""

    relation: str
    mode: str
    least: float
    most: float
    began: float
    transaction: str


@dataclass
class Sampler:
    """`with Sampler(url) as sampler:`; afterwards `held` has all that was seen, `gap` and `mean` are in
    milliseconds.
    """

    url: str
    held: list[Held] = field(default_factory=list)
    gap: float = 0.0
    mean: float = 0.0
    samples: int = 0

    def __enter__(self) -> Self:
        self._switch = psycopg.connect(self.url, autocommit=True)
        self._switch.execute("SELECT pg_advisory_lock(%s)", [_SWITCH])
        self._connection = psycopg.connect(self.url, autocommit=True)
        self._connection.add_notice_handler(self._note)
        self._thread = threading.Thread(target=self._connection.execute, args=(_SAMPLER,), daemon=True)
        self._thread.start()
        at_it = "SELECT FROM pg_stat_activity WHERE pid = %s AND state = 'active' AND query LIKE '%%$sampler$%%'"
        while not self._switch.execute(at_it, [self._connection.info.backend_pid]).fetchall():
            assert self._thread.is_alive(), "the sampler failed"
            time.sleep(0.002)
        return self

    def __exit__(self, *_: object) -> None:
        self._switch.close()
        self._thread.join(30)
        assert not self._thread.is_alive(), "the sampler hangs"
        self._connection.close()
        assert self.samples, "the sampler failed"

    def _note(self, notice: psycopg.errors.Diagnostic) -> None:
        found = json.loads(notice.message_primary)
        if "samples" in found:
            self.samples, self.gap = found["samples"], found["gap"] * 1000
            self.mean = found["seconds"] * 1000 / self.samples
            return
        least = (found["until"] - found["since"]) * 1000
        times = (max(least, 0.0), found["most"] * 1000, found["since"])
        self.held.append(Held(found["name"], found["mode"], *times, found["transaction"]))

    def longest(self) -> dict[str, Held]:
        """By mode, the lock that was there longest."""
        found: dict[str, Held] = {}
        for item in self.held:
            if item.mode not in found or item.most > found[item.mode].most:
                found[item.mode] = item
        return found


@dataclass
class Steps:
    """When each step of the programs ran."""

    times: list[tuple[float, float, str]] = field(default_factory=list)

    def watch(self, found: ChangedDatabase) -> None:
        original = found.runner._step

        def step(known, program, number, item, finish) -> None:
            began = time.time()
            original(known, program, number, item, finish)
            self.times.append((began, time.time(), f"{program}: {item.title}"))

        found.runner._step = step

    def at(self, when: float) -> str:
        return next((title for began, ended, title in self.times if began <= when <= ended), "-")


def hold(url: str, milliseconds: float, mode: str = "ACCESS EXCLUSIVE") -> None:
    with psycopg.connect(url) as connection:
        connection.execute(f"LOCK TABLE probe IN {mode} MODE")
        time.sleep(milliseconds / 1000)
        connection.rollback()


def too_long(sampler: Sampler) -> list[str]:
    return [f"{item.mode} on {item.relation}: {item.least:.0f} ms" for item in sampler.held if item.least > LONGEST]


def of_probe(sampler: Sampler) -> list[tuple[str, float]]:
    return [(item.mode, item.least) for item in sampler.held if item.relation == "probe"]


@contextlib.contextmanager
def no_long_lock(found: ChangedDatabase) -> Iterator[None]:
    """Whatever goes on in the block, no lock that keeps readers or writers out is held for long."""
    steps = Steps()
    with psycopg.connect(found.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE probe ()")
    steps.watch(found)
    with Sampler(found.url) as sampler:
        yield
        hold(found.url, PROBE)
    assert too_long(sampler) == [], [steps.at(item.began) for item in sampler.held if item.least > LONGEST]
    # It was at work to the end, with a resolution that shows what it looks for.
    assert [mode for mode, _ in of_probe(sampler)] == ["AccessExclusiveLock"]
    assert sampler.mean < PROBE, (sampler.mean, sampler.gap)


def life(found: ChangedDatabase, change: Change) -> None:
    """Through every program, with writers of the old version, of both, and of the new one."""
    found.start_old()
    _filled(found, change)
    if not found.case.reopens and found.runner.known(change.key).steps.undo:
        # The way back, and once more.
        found.settle()
        found.stop_new()
        found.runner.undo(change.key)
        found.settle()
        _filled(found, change)
    found.settle()
    found.stop_old()
    found.runner.contract(change.key, "measured")
    found.settle()
    if found.case.reopens:
        found.runner.reopen(change.key)
        if not found.case.lost:
            found.start_old()
        found.settle()
        found.stop_new()
        found.runner.undo(change.key)
        if not found.case.lost:
            found.settle()
            found.stop_old()
    found.stop_new()


def _filled(found: ChangedDatabase, change: Change) -> None:
    found.runner.expand(change)
    found.start_new()
    found.runner.fill(change.key)


def many(url: str, case: Case, rows: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        insert(connection, case, rows)
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def measured(url: str, case: Case, rows: int) -> tuple[Sampler, Steps]:
    steps = Steps()
    with changed_database(url, case) as found:
        many(url, case, rows)
        steps.watch(found)
        with Sampler(url) as sampler:
            life(found, case.declare())
    return sampler, steps


def main() -> None:
    base, *more = sys.argv[1:]
    rows, only = int(more[0]) if more else ROWS, more[1:]
    # The writers are threads of this process: they must not keep the one that holds the lock waiting for its turn.
    sys.setswitchinterval(0.0002)
    print("| operation | ACCESS EXCLUSIVE | SHARE ROW EXCLUSIVE | SHARE | the longest |\n|---|--:|--:|--:|---|")
    gaps, samples, seconds = [], 0, 0.0
    for case in CASES:
        if only and case.name not in only:
            continue
        name = f"h{uuid.uuid4().hex[:10]}"
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(psycopg.connect(base, autocommit=True))
            connection.execute(f"CREATE DATABASE {name}")
            stack.callback(
                lambda name=name, connection=connection: connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
            )
            sampler, steps = measured(
                base.replace("/postgres?", f"/{name}?"), case, min(rows, FEWER.get(case.name, rows))
            )
        longest = sampler.longest()
        cells = [f"{longest[mode].most:.1f}" if mode in longest else "-" for mode in (MODES[0], *MODES[2:])]
        assert MODES[1] not in longest, "the table has no column for it"
        worst = max(longest.values(), key=lambda item: item.most, default=None)
        where = f"{steps.at(worst.began)} ({worst.relation})" if worst else "-"
        print(f"| {case.name.replace('_', ' ')} | {' | '.join(cells)} | {where} |", flush=True)
        gaps.append(sampler.gap)
        samples += sampler.samples
        seconds += sampler.samples * sampler.mean / 1000
    print(
        f"\n{samples:,} samples in {seconds:.0f} s, one each {seconds * 1000 / samples:.2f} ms; "
        f"the longest between two was {max(gaps):.1f} ms, by operation {sorted(gaps)[len(gaps) // 2]:.1f} ms (median)"
    )


if __name__ == "__main__":
    main()
