"""Work that is begun ahead: it waits where it must, ends when nobody wants it, and its errors are told who asks."""

from __future__ import annotations

import sys
import threading

import pytest

from deploykit.process import run
from deploykit.process.ahead import Ahead, Gate, Unwanted


def test_what_was_begun_waits_at_the_gate_until_it_is_opened():
    gate = Gate()
    passed = threading.Event()

    def act() -> str:
        gate.wait()
        passed.set()
        return "made"

    ahead = Ahead(act)
    assert not passed.wait(0.05)
    gate.open()
    assert ahead.get() == "made"


def test_who_waits_at_a_gate_that_is_closed_ends():
    gate = Gate()
    ahead = Ahead(gate.wait)
    assert ahead.left(0.01), "it waits"
    gate.close()
    with pytest.raises(Unwanted):
        ahead.get()


def test_a_program_is_ended_when_nobody_wants_it_any_more():
    gate = Gate()
    gate.open()
    program = [sys.executable, "-c", "import time; print('on', flush=True); time.sleep(60)"]
    on = threading.Event()
    ahead = Ahead(lambda: run(program, gate=gate, on_line=lambda _stream, _line: on.set()))
    assert on.wait(20)
    gate.close()
    with pytest.raises(Unwanted):
        ahead.get()


def test_a_program_that_ends_by_itself_does_not_mind_a_gate():
    gate = Gate()
    gate.open()
    assert run([sys.executable, "-c", "print('done')"], gate=gate).stdout == "done\n"


def test_what_nobody_asks_for_is_let_go_of_when_it_is_there() -> None:
    answered, dropped = threading.Event(), threading.Event()
    ahead = Ahead(lambda: answered.wait(20))
    ahead.forget(lambda answer: dropped.set() if answer else None)
    assert not dropped.is_set()
    answered.set()
    assert dropped.wait(20)


def test_what_is_there_already_is_let_go_of_at_once_and_only_once() -> None:
    dropped: list[int] = []
    ahead = Ahead(lambda: 3)
    assert ahead.get() == 3
    ahead.forget(dropped.append)
    ahead._drop()
    assert dropped == [3]


def test_where_it_went_wrong_there_is_nothing_to_let_go_of() -> None:
    def act() -> int:
        raise ZeroDivisionError

    dropped: list[int] = []
    ahead = Ahead(act)
    with pytest.raises(ZeroDivisionError):
        ahead.get()
    ahead.forget(dropped.append)
    assert dropped == []
