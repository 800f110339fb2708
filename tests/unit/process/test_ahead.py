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
