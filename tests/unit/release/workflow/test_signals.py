from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from deploykit.ledger.connect import open_database
from deploykit.process import run
from deploykit.process.cancellation import Cancellation
from deploykit.release.workflow.signals import listening
from deploykit.rollout import Cancelled

LONG = 60.0
ENDS = "One more signal ends it at once and leaves it unfinished, for: invoke rollback"
SAFE = "the traffic is being made safe first; this ends by itself"


@pytest.fixture
def cancellation():
    return Cancellation()


class Told(list[str]):
    """What was answered; `next` waits until there is one more."""

    def __init__(self) -> None:
        super().__init__()
        self._more = threading.Semaphore(0)

    def __call__(self, sentence: str) -> None:
        self.append(sentence)
        self._more.release()

    def next(self) -> str:
        assert self._more.acquire(timeout=LONG)
        return self[-1]


@pytest.mark.parametrize(
    ("number", "name"),
    [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "the terminal went away")],
)
def test_a_signal_ends_a_wait_and_is_named(cancellation, number, name):
    before = signal.getsignal(number)
    with pytest.raises(Cancelled) as caught, listening(cancellation, print):
        os.kill(os.getpid(), number)
        cancellation.wait(LONG)
    assert caught.value.reason == f"cancelled by {name}"
    assert signal.getsignal(number) == before


def test_a_signal_that_comes_while_a_lock_is_held_leaves_no_lock_behind(cancellation):
    """It came when the lock had just been taken: an exception from the handler left it taken, and others waited for
    ever.
    """

    class Interrupted(logging.StreamHandler[io.StringIO]):
        def acquire(self) -> None:
            super().acquire()
            if threading.current_thread() is threading.main_thread():
                signal.raise_signal(signal.SIGTERM)

    log, record = Interrupted(io.StringIO()), logging.makeLogRecord({"msg": "something"})
    with pytest.raises(Cancelled), listening(cancellation, print):
        log.handle(record)
        cancellation.wait(LONG)
    other = threading.Thread(target=log.handle, args=(record,), daemon=True)
    other.start()
    other.join(10)
    assert not other.is_alive()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cancelled_transaction_is_whole_and_locks_nobody_out(cancellation, tmp_path, number):
    database = open_database(tmp_path / "ledger.sqlite3", busy_seconds=0.2)
    with database.write() as connection:
        connection.run("CREATE TABLE rows (number INTEGER)")
    with listening(cancellation, print):
        with database.write() as connection:
            os.kill(os.getpid(), number)
            connection.run("INSERT INTO rows VALUES (1)")
        with pytest.raises(Cancelled):
            cancellation.wait(LONG)
    with database.write() as connection:
        connection.run("INSERT INTO rows VALUES (2)")
    with database.read() as connection:
        assert connection.run("SELECT number FROM rows").fetchall() == [(1,), (2,)]
    database.close()


def test_a_second_signal_is_answered_and_interrupts_nothing(cancellation):
    told = Told()
    with listening(cancellation, told):
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Cancelled):
            cancellation.wait(LONG)
        cancellation.mask()
        os.kill(os.getpid(), signal.SIGTERM)
        assert told.next() == f"SIGTERM: {SAFE}. {ENDS}"
        cancellation.check()
    assert len(told) == 1


def test_behind_the_shield_the_first_signal_is_answered_too_and_counts_afterwards(cancellation):
    told = Told()
    with listening(cancellation, told):
        cancellation.mask()
        os.kill(os.getpid(), signal.SIGTERM)
        assert told.next() == f"SIGTERM: {SAFE}"
        cancellation.check()
        cancellation.unmask()
        with pytest.raises(Cancelled, match="cancelled by SIGTERM"):
            cancellation.check()


def test_a_signal_while_a_program_is_started_counts_once(cancellation, monkeypatch):
    """`run` keeps signals back where a handler may raise, and sends them again: here it must not."""

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    told = Told()
    with listening(cancellation, told), pytest.raises(Cancelled):
        run(["sleep", f"{LONG:g}"])
    assert told == []


def test_a_terminal_goes_away_once_however_many_pass_that_on(cancellation):
    told = Told()
    with listening(cancellation, told):
        cancellation.mask()
        for _ in range(5):
            os.kill(os.getpid(), signal.SIGHUP)
        assert told.next() == f"the terminal went away: {SAFE}"
        os.kill(os.getpid(), signal.SIGTERM)
        assert told.next() == f"SIGTERM: {SAFE}. {ENDS}"


PROCESS = """
import signal, sys, threading, time
from deploykit.process.cancellation import Cancellation
from deploykit.release.workflow.signals import listening

def tell(sentence):
    print(sentence, flush=True)
    {telling}

cancellation = Cancellation()
with listening(cancellation, tell):
    {before}
    print("ready", flush=True)
    {work}
"""


def started(*, before: str = "pass", work: str = "time.sleep(60)", telling: str = "pass") -> subprocess.Popen[str]:
    code = PROCESS.format(before=before, work=work, telling=telling)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def ended(process: subprocess.Popen[str]) -> int:
    with process:
        try:
            return process.wait(LONG)
        finally:
            process.kill()


def test_a_second_signal_ends_a_process_that_does_not_notice_the_first():
    process = started(work="threading.Event().wait(60)")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert ended(process) in {128 + signal.SIGINT, 128 + signal.SIGTERM}


def test_a_process_that_is_stuck_in_a_library_is_ended_by_the_second_signal_too(tmp_path):
    """SQLite waits for a lock in C: no handler written in Python runs meanwhile."""
    path = tmp_path / "locked.sqlite3"
    database = open_database(path, busy_seconds=1.0)
    with database.write() as connection:
        connection.run("CREATE TABLE rows (number INTEGER)")
        connect = f"import sqlite3; there = sqlite3.connect({str(path)!r}, timeout=60, isolation_level=None)"
        process = started(before=connect, work="there.execute('BEGIN IMMEDIATE')")
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert ended(process) in {128 + signal.SIGINT, 128 + signal.SIGTERM}
    database.close()


def test_the_third_signal_ends_the_process_at_once_also_where_nobody_takes_the_answer():
    process = started(before="cancellation.mask()", telling="time.sleep(60)")
    assert process.stdout is not None
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == f"Ctrl-C: {SAFE}\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == f"Ctrl-C: {SAFE}. {ENDS}\n"
    process.send_signal(signal.SIGINT)
    assert ended(process) == 128 + signal.SIGINT


def test_in_a_thread_no_handler_is_set(cancellation):
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with listening(cancellation, print):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert seen == [before]


def test_after_the_verdict_the_first_signal_is_let_pass_and_the_next_one_is_not(cancellation):
    heard = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, lambda number, _frame: heard.append(number))
        with listening(cancellation, print, ends_process=True):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == []
        os.kill(os.getpid(), signal.SIGINT)
        assert heard == [signal.SIGINT]
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def test_a_signal_that_the_process_was_started_to_ignore_stays_ignored(cancellation):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with listening(cancellation, print):
            os.kill(os.getpid(), signal.SIGHUP)
            assert not cancellation.masked
            cancellation.check()
        with listening(cancellation, print, ends_process=True):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
