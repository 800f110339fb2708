from __future__ import annotations

import os
import signal
import threading

import pytest

from deploykit.ledger.database import open_database
from deploykit.process import interrupt, uninterrupted
from deploykit.release.signals import cancellation
from deploykit.rollout import Cancelled


class Torn(Exception):
    pass


def tear() -> None:
    raise Torn


def test_outside_of_a_block_it_is_done_at_once():
    with pytest.raises(Torn):
        interrupt(tear)


def test_inside_it_waits_for_the_end_of_the_outermost_block():
    reached = []
    with pytest.raises(Torn), uninterrupted():
        with uninterrupted():
            interrupt(tear)
            reached.append("inner")
        reached.append("outer")
    assert reached == ["inner", "outer"]
    with uninterrupted():
        reached.append("nothing is left over")


def test_an_error_inside_is_seen_beside_the_interruption():
    with pytest.raises(Torn) as caught, uninterrupted():
        interrupt(tear)
        raise ValueError("first")
    assert isinstance(caught.value.__context__, ValueError)


def test_another_thread_holds_nothing_up():
    entered, leave = threading.Event(), threading.Event()

    def work() -> None:
        with uninterrupted():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert entered.wait(10)
        with pytest.raises(Torn):
            interrupt(tear)
    finally:
        leave.set()
        thread.join(10)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cancelled_transaction_is_whole_and_locks_nobody_out(tmp_path, number):
    database = open_database(tmp_path / "ledger.sqlite3", busy_seconds=0.2)
    with database.write() as connection:
        connection.run("CREATE TABLE rows (number INTEGER)")
    with cancellation(print), pytest.raises(Cancelled), database.write() as connection:
        os.kill(os.getpid(), number)
        connection.run("INSERT INTO rows VALUES (1)")
    with database.write() as connection:
        connection.run("INSERT INTO rows VALUES (2)")
    with database.read() as connection:
        assert connection.run("SELECT number FROM rows").fetchall() == [(1,), (2,)]
    database.close()
