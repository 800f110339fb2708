"""The processor time that the look into one file may take."""

from __future__ import annotations

import signal
import time

import pytest

from deploykit.gates.secretscan.budget import OverBudget, within


def busy(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_what_is_within_its_budget_leaves_no_alarm_behind():
    before = signal.getsignal(signal.SIGVTALRM)
    assert within(5.0, lambda: 7) == 7
    assert signal.getsignal(signal.SIGVTALRM) is before
    assert signal.getitimer(signal.ITIMER_VIRTUAL)[0] == 0


def test_who_swallows_the_alarm_is_ended_by_the_next():
    def stubborn() -> None:
        try:
            busy(5.0)
        except OverBudget:
            busy(5.0)

    with pytest.raises(OverBudget):
        within(0.05, stubborn)
