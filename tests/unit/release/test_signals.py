from __future__ import annotations

import os
import signal
import threading

import pytest

from deploykit.release.signals import Cancellation, cancellation
from deploykit.rollout import Cancelled


@pytest.mark.parametrize(
    ("number", "name"),
    [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "the terminal went away")],
)
def test_a_signal_becomes_a_cancellation_that_names_it(number, name):
    before = signal.getsignal(number)
    with pytest.raises(Cancelled) as caught, cancellation(print):
        os.kill(os.getpid(), number)
        signal.pause()
    assert caught.value.reason == f"cancelled by {name}"
    assert signal.getsignal(number) == before


def test_a_second_signal_does_not_interrupt_what_the_first_one_began():
    told = []
    with cancellation(told.append):
        with pytest.raises(Cancelled):
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
    assert told == [
        "Ctrl-C: the traffic is being made safe first; this ends by itself",
        "SIGTERM: the traffic is being made safe first; this ends by itself",
    ]


def test_behind_the_shield_signals_are_only_told_and_heard_again_without_it():
    told = []
    handler = Cancellation(told.append)
    handler.shield()
    handler.handle(signal.SIGTERM, None)
    assert len(told) == 1
    handler.unshield()
    with pytest.raises(Cancelled):
        handler.handle(signal.SIGTERM, None)


def test_what_comes_while_a_lock_is_taken_waits_until_it_is():
    told = []
    handler = Cancellation(told.append)
    handler.defer()
    handler.handle(signal.SIGINT, None)
    assert told == []
    with pytest.raises(Cancelled, match="cancelled by Ctrl-C"):
        handler.hear()


def test_where_nothing_came_meanwhile_the_next_signal_is_heard_at_once():
    handler = Cancellation(print)
    handler.defer()
    handler.hear()
    with pytest.raises(Cancelled, match="cancelled by SIGTERM"):
        handler.handle(signal.SIGTERM, None)


def test_in_a_thread_no_handler_is_set():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with cancellation(print):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert seen == [before]


def test_after_the_verdict_the_first_signal_is_let_pass_and_the_next_one_is_not():
    heard = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, lambda number, _frame: heard.append(number))
        with cancellation(print, ends_process=True):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == []
        os.kill(os.getpid(), signal.SIGINT)
        assert heard == [signal.SIGINT]
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def test_a_signal_that_the_process_was_started_to_ignore_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with cancellation(print):
            os.kill(os.getpid(), signal.SIGHUP)
        with cancellation(print, ends_process=True):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
