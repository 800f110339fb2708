"""kill -9 in a change's life: whoever takes it up finds its way, and no row is lost, wrong or written twice.

The process that is killed is a real one, forked from the test; its server process may go on with its last statement.
In the longest life every fourth step of the journal is met in its middle, other ones for each operation; of the other
lives some statements. With --every-case every statement is.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import traceback
from itertools import pairwise
from typing import TYPE_CHECKING

import psycopg
import pytest
from changed_database import SEED, Case, ChangedDatabase, changed_database
from schema_cases import CASES
from sqlalchemy import create_engine, pool

from deploykit.schema.in_app.live.ddl import Limits
from deploykit.schema.in_app.live.runner import Runner, only_one
from deploykit.schema.in_app.live.session import Session
from deploykit.schema.in_app.live.throttle import Pace
from tests.shared.postgres import name_of

if TYPE_CHECKING:
    from tests.shared.postgres import Postgres

pytestmark = pytest.mark.timeout(600)
KILLED = [
    case
    for case in CASES
    if case.name
    in {
        "change_type",
        "split_column",
        "set_not_null_filled",
        "add_unique",
        "rename_table",
        "split_table",
        "create_index",
        "change_key_serial",
        "detach_partition",
    }
]
ROWS = 120


class Killing(Session):
    """Ends its process before the statement of a number."""

    left = -1

    def run(self, sql):
        self._count()
        return super().run(sql)

    def rows(self, sql):
        self._count()
        return super().rows(sql)

    def _count(self):
        Killing.left -= 1
        if Killing.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def in_child(url: str, case: Case, programs: list[str], *, kill_at: int = -1) -> tuple[int, list[int]]:
    """Run the programs in a forked process; how it ended (negative: by a signal), and after how many statements each
    step of the journal began; the last number is that of all.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reading)
            Killing.left = kill_at
            begun: list[int] = []
            _live(url, case, programs, lambda *_: begun.append(-Killing.left - 1))
            begun.append(-Killing.left - 1)
            os.write(writing, json.dumps(begun if kill_at < 0 else []).encode())
            code = 0
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(code)
    os.close(writing)
    _, status = os.waitpid(pid, 0)
    said = os.read(reading, 50_000).decode()
    os.close(reading)
    return (-os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)), json.loads(said or "[]")


def _live(url: str, case: Case, programs: list[str], before_step) -> None:
    engine = create_engine(
        url.replace("postgresql://", "postgresql+psycopg://"), poolclass=pool.NullPool, isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        session = Killing(connection)
        # Small batches: so that some lie between kills.
        runner = Runner(session, lambda _line: None, Limits(total=20.0), Pace(largest=50))
        runner.before_step = before_step
        with only_one(session, 20.0, lambda _line: None):
            _go(runner, case, programs)


def _go(runner: Runner, case: Case, programs: list[str]) -> None:
    """What a person types again after a kill: the first of the programs that is not done."""
    change = case.declare()
    for number, program in enumerate(programs):
        known = runner.state.get(change.key) if runner.state.exists else None
        phase = known.phase if known is not None else ""
        if number < len(programs) - 1 and _is_past(phase, program, programs):
            continue
        if program == "expand":
            runner.expand(change)
        elif program == "contract":
            runner.contract(change.key, "the test")
        else:
            getattr(runner, program)(change.key)


def _is_past(phase: str, program: str, programs: list[str]) -> bool:
    order = {
        "expand": {"expanded", "filling", "filled", "contracting", "contracted", "reopening", "undoing", "undone"},
        "fill": {"contracting", "contracted", "reopening", "undoing", "undone"},
        "contract": {"contracted", "reopening", "undoing", "undone"},
    }
    return phase in order.get(program, set())


@contextlib.contextmanager
def prepared(server: Postgres, case: Case):
    """The name of a database with the rows, of which each try gets a copy; and what must be true of it."""
    with server.database() as url:
        with changed_database(url, case, seed=ROWS) as found:
            model, before = dict(found.model), found.definition()
        yield name_of(url), model, before


LIVES = {
    "there": ["expand", "fill", "contract"],
    "back": ["expand", "fill", "undo"],
    "again": ["expand", "fill", "contract", "undo"],
}


@pytest.mark.parametrize("life", LIVES)
@pytest.mark.parametrize("case", KILLED, ids=lambda case: case.name)
def test_a_kill_at_any_statement_is_taken_up(server_18, every_case: bool, case: Case, life: str):
    programs = LIVES[life]
    if life == "again" and not case.reopens:
        programs = LIVES["back"]
    with prepared(server_18, case) as (template, model, before):
        with server_18.database(template) as url:
            code, begun = in_child(url, case, programs)
            assert code == 0
        many = begun[-1]
        assert many > 20
        stride, apart = (1, 1) if every_case else (240, 6)
        chosen = set(range(1 + sum(map(ord, case.name + life)) % stride, many + 1, stride))
        if life == "again":
            # With what was done before the first step, which is written down, too.
            middles = [(start + end + 1) // 2 for start, end in pairwise([0, *begun])]
            chosen |= {middles[0], middles[-1], *middles[KILLED.index(case) % apart :: apart]}
        for number in sorted(chosen & set(range(1, many + 1))):
            with server_18.database(template) as url:
                code, _ = in_child(url, case, programs, kill_at=number)
                assert code == -signal.SIGKILL, (number, code)
                code, _ = in_child(url, case, programs)
                assert code == 0, number
                _right(url, case, life, model, before, number)


def _right(url: str, case: Case, life: str, model, before, number: int) -> None:
    found = ChangedDatabase(url, case, None, [], model=model)  # type: ignore[arg-type]
    try:
        if life == "there":
            found.check(case.new or case.old)
        else:
            found.check(case.old)
            assert found.definition() == before
    except AssertionError as error:
        raise AssertionError(f"killed before statement {number}: {error}") from error


def test_a_row_is_written_once_by_a_backfill_that_was_killed_often(server_18):
    case = next(item for item in CASES if item.name == "change_type")
    with prepared(server_18, case) as (template, _, _), server_18.database(template) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("INSERT INTO t (note, price) SELECT 'x', g FROM generate_series(1, 3000) g")
            connection.execute("CREATE TABLE written (id int)")
            connection.execute(
                "CREATE FUNCTION note_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO written VALUES"
                " (NEW.id); RETURN NEW; END'"
            )
            connection.execute("CREATE TRIGGER a_note AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION note_it()")
        kills = 0
        for number in range(45, 400, 7):
            code, _ = in_child(url, case, ["expand", "fill"], kill_at=number)
            if code == 0:
                break
            kills += 1
        assert kills >= 3
        code, _ = in_child(url, case, ["expand", "fill"])
        assert code == 0
        with psycopg.connect(url, autocommit=True) as connection:
            assert connection.execute("SELECT count(*), count(DISTINCT id) FROM written").fetchone() == (
                ROWS + 3000,
                ROWS + 3000,
            )
            assert connection.execute(
                "SELECT count(*) FROM t WHERE price_2 IS DISTINCT FROM price / 100.0"
            ).fetchone() == (0,)


def test_a_killed_backfill_can_never_be_contracted(server_18):
    """pgroll reports success here and loses what was not copied yet."""
    case = next(item for item in CASES if item.name == "rename_column")
    with prepared(server_18, case) as (template, model, _), server_18.database(template) as url:
        code, begun = in_child(url, case, ["expand", "fill"])
        assert code == 0
        many = begun[-1]
        with server_18.database(template) as again:
            code, _ = in_child(again, case, ["expand", "fill"], kill_at=many // 2)
            assert code == -signal.SIGKILL
            code, _ = in_child(again, case, ["contract"])
            assert code == 1
            found = ChangedDatabase(again, case, None, [], model=model)  # type: ignore[arg-type]
            found.check(case.old)


assert SEED > ROWS
