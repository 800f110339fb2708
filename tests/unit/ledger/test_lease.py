"""The heart beats on through trouble that passes, and stops where going on would be a lie."""

from __future__ import annotations

import threading

from deploykit.ledger.interface import Held, StaleToken
from deploykit.ledger.lease import Heartbeat
from deploykit.model import DeploykitError

HELD = Held(owner="ann", reason="release", token=7, acquired_at=0.0, heartbeat_at=0.0, expires_at=1.0)


class Lock:
    """Answers each heartbeat by the next of `answers`: None is fine, an error is raised. The last one stays."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.beats = 0
        self.enough = threading.Event()

    def heartbeat(self, owner, token, *, lease):
        assert (owner, token) == ("ann", 7)
        self.beats += 1
        if len(self.answers) == 1:
            self.enough.set()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer


def test_a_moment_of_trouble_is_no_loss():
    lock = Lock(None, DeploykitError("busy"), DeploykitError("busy"), None)
    lost = []
    with Heartbeat(lock, HELD, lease=0.6, lost=lost.append):
        assert lock.enough.wait(10)
    assert lost == []
    assert lock.beats >= 4


def test_trouble_for_a_whole_lease_is_a_loss_that_is_told_once():
    trouble = DeploykitError("the disk is full")
    lock = Lock(trouble)
    told = threading.Event()
    lost = []
    with Heartbeat(lock, HELD, lease=0.12, lost=lambda error: (lost.append(error), told.set())):
        assert told.wait(10)
    assert lost == [trouble]


def test_a_lock_that_somebody_else_took_is_a_loss_at_once():
    gone = StaleToken("bob has it now")
    lock = Lock(gone)
    lost = []
    with Heartbeat(lock, HELD, lease=0.03, lost=lost.append):
        assert lock.enough.wait(10)
    assert lost == [gone]


def test_a_heart_stops_at_once_when_the_work_is_done():
    lock = Lock(None)
    with Heartbeat(lock, HELD, lease=3600, lost=[].append):
        pass
    assert lock.beats == 0


def test_a_heart_never_stops_in_silence():
    lock = Lock(ZeroDivisionError("a bug"))
    lost = []
    with Heartbeat(lock, HELD, lease=0.03, lost=lost.append):
        assert lock.enough.wait(10)
    assert ["ZeroDivisionError: a bug" in str(error) for error in lost] == [True]
