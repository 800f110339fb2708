"""The heart beats on through trouble that passes, and stops where going on would be a lie."""

from __future__ import annotations

import threading

import pytest

from deploykit.ledger.interface import Held, StaleToken
from deploykit.ledger.lease import Heartbeat, hold
from deploykit.model import DeploykitError

HELD = Held(owner="ann", reason="release", token=7, acquired_at=0.0, heartbeat_at=0.0, expires_at=1.0)


class Lock:
    """Answers each heartbeat by the next of `answers`: None is fine, an error is raised. The last one stays."""

    def __init__(self, *answers, lost_at_unlock=False):
        self.answers = list(answers)
        self.beats = 0
        self.enough = threading.Event()
        self.unlocked = []
        self.lost_at_unlock = lost_at_unlock

    def acquire(self, owner, reason, *, lease):
        return HELD

    def heartbeat(self, owner, token, *, lease):
        assert (owner, token) == ("ann", 7)
        self.beats += 1
        if len(self.answers) == 1:
            self.enough.set()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer

    def unlock(self, owner, token):
        if self.lost_at_unlock:
            raise StaleToken("lost")
        self.unlocked.append((owner, token))


def test_a_moment_of_trouble_is_no_loss():
    lock = Lock(None, DeploykitError("busy"), DeploykitError("busy"), None)
    lost = []
    with Heartbeat(lock, HELD, lease=0.6, lost=lost.append) as heart:
        assert lock.enough.wait(10)
    assert lost == []
    assert heart.error is None
    assert lock.beats >= 4


def test_trouble_for_a_whole_lease_is_a_loss_that_is_told_once():
    trouble = DeploykitError("the disk is full")
    lock = Lock(trouble)
    told = threading.Event()
    lost = []
    with Heartbeat(lock, HELD, lease=0.12, lost=lambda error: (lost.append(error), told.set())) as heart:
        assert told.wait(10)
    assert lost == [trouble]
    assert heart.error is trouble


def test_a_loss_is_kept_where_nobody_listens():
    lock = Lock(StaleToken("bob has it now"))
    heart = Heartbeat(lock, HELD, lease=0.03)
    with heart:
        assert lock.enough.wait(10)
    assert isinstance(heart.error, StaleToken)


def test_a_heart_stops_at_once_when_the_work_is_done():
    lock = Lock(None)
    with Heartbeat(lock, HELD, lease=3600):
        pass
    assert lock.beats == 0


def test_the_lock_is_given_back_when_the_work_fails():
    lock = Lock(None)
    with pytest.raises(ZeroDivisionError), hold(lock, "ann", "release", lease=3600) as held:
        _ = held.token / 0
    assert lock.unlocked == [("ann", 7)]


def test_a_lock_lost_meanwhile_does_not_hide_how_the_work_ended():
    with hold(Lock(None, lost_at_unlock=True), "ann", "release", lease=3600):
        pass


def test_a_heart_never_stops_in_silence():
    told = threading.Event()
    with Heartbeat(Lock(ZeroDivisionError("a bug")), HELD, lease=0.03, lost=lambda _error: told.set()) as heart:
        assert told.wait(10)
    assert "ZeroDivisionError: a bug" in str(heart.error)
