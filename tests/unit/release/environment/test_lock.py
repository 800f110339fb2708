from __future__ import annotations

import dataclasses
import threading

import pytest

from deploykit.ledger.interface import LockHeld
from deploykit.model import DeploykitError
from deploykit.process.supervisor.daemon.identity import place
from deploykit.release.environment import lock as locking
from deploykit.release.environment.lock import TargetLocked, environment_lock
from deploykit.release.environment.owner import Owner
from deploykit.settings.paths import StatePaths
from deploykit.targets.process import ProcessTarget


@pytest.fixture
def target(tmp_path):
    return ProcessTarget("shop", "local", StatePaths(tmp_path, "shop", "local"), supervisor=None)


@pytest.fixture
def take(ledger, target):
    """Take the environment's lock; what was told is kept in `take.told`."""

    def lock(reason="release"):
        return environment_lock(
            ledger, target, reason, warn=lock.told.append, lost=lambda: lock.lost.append(lock.told[-1])
        )

    lock.told, lock.lost = [], []
    return lock


DEAD = dataclasses.replace(Owner.me(), who="wren", started=f"{place()}:1")


def test_it_is_held_in_the_ledger_and_on_the_target_and_given_back(take, ledger, target):
    with take() as held:
        assert ledger.holder() == held
        on_target = target.lock_holder()
        assert (on_target.owner, on_target.token) == (held.owner, held.token)
        assert Owner.parse(held.owner) == Owner.me()
    assert ledger.holder() is None
    assert target.lock_holder() is None
    assert take.told == take.lost == []


def test_it_is_given_back_whatever_happens_inside(take, ledger, target):
    with pytest.raises(KeyboardInterrupt), take():
        raise KeyboardInterrupt
    assert ledger.holder() is None
    assert target.lock_holder() is None


def test_who_holds_it_in_the_ledger_is_told(take, ledger, target):
    ledger.acquire("Robin (by hand)", "the fair is on", lease=60)
    with pytest.raises(LockHeld, match=r"Robin \(by hand\).*the fair is on"), take():
        pytest.fail("the lock was had twice")
    assert target.lock_holder() is None
    assert ledger.holder().owner == "Robin (by hand)"


def test_who_holds_it_on_the_target_is_told_and_the_ledger_is_free_again(take, ledger, target):
    target.lock("robin@elsewhere pid 3 started 4", "a release from another clone", token=1, lease=60)
    with pytest.raises(TargetLocked, match="robin@elsewhere") as caught, take():
        pytest.fail("the lock was had twice")
    assert "a release from another clone" in caught.value.message
    assert ledger.holder() is None
    assert target.lock_holder().owner.startswith("robin@elsewhere")


def test_what_a_dead_process_left_in_the_ledger_is_taken_over_and_said(take, ledger):
    ledger.acquire(str(DEAD), "release", lease=60)
    with take() as held:
        assert ledger.holder() == held
    assert take.told == [f"the lock of wren (pid {DEAD.pid}) was left behind by a process that has ended: taken over"]


def test_what_a_dead_process_left_on_the_target_is_taken_over_and_said(take, target):
    target.lock(str(DEAD), "release", token=0, lease=60)
    with take() as held:
        assert target.lock_holder().owner == held.owner
    assert len(take.told) == 1
    assert "wren" in take.told[0]


ELSEWHERE = dataclasses.replace(DEAD, started="another-boot/4026531836:1")
"""Of a machine or container with the same host name."""


def test_a_process_on_another_machine_is_never_taken_for_dead(take, ledger):
    ledger.acquire(str(ELSEWHERE), "release", lease=60)
    with pytest.raises(LockHeld) as caught, take():
        pytest.fail("the lock of another machine was taken")
    assert "can't be seen from here: the lock ends 30 s after it was last heard of" in " ".join(caught.value.details)


def test_nor_is_one_that_holds_the_target(take, target):
    target.lock(str(ELSEWHERE), "release", token=0, lease=60)
    with pytest.raises(TargetLocked) as caught, take():
        pytest.fail("the lock of another machine was taken")
    assert "can't be seen from here" in " ".join(caught.value.details)


def test_once_the_lease_of_another_machine_ran_out_its_lock_is_taken(take, ledger, target):
    ledger.acquire(str(ELSEWHERE), "release", lease=-1)
    target.lock(str(ELSEWHERE), "release", token=0, lease=-1)
    with take() as held:
        assert ledger.holder() == held


def test_a_lock_that_was_broken_meanwhile_stays_with_its_new_owner(take, ledger):
    with take():
        ledger.break_lock("wren", "it hung")
        theirs = ledger.acquire("wren", "mine now", lease=60)
    assert ledger.holder() == theirs


@pytest.fixture
def short_lease(take, monkeypatch):
    """A lease of 0.3 s; waits until somebody hears that the lock was lost, and answers why."""
    heard, sentences = threading.Event(), []

    class Lost:
        def append(self, sentence: str) -> None:
            sentences.append(sentence)
            heard.set()

    monkeypatch.setattr(locking, "LEASE_SECONDS", 0.3)
    take.lost = Lost()

    def wait() -> str:
        assert heard.wait(20)
        return sentences[0]

    return wait


def test_the_heartbeat_tells_when_the_lock_was_lost(take, ledger, short_lease):
    with take():
        ledger.break_lock("wren", "it hung")
        assert short_lease().startswith("the lock was lost: ")


def test_the_heartbeat_tells_when_somebody_took_the_target(take, ledger, target, short_lease):
    with take():
        holder = target.lock_holder()
        robin = ("robin@elsewhere pid 3 started 4", "another clone")
        target.unlock(holder.owner, token=holder.token)
        while target.lock(*robin, token=holder.token + 1, lease=60) is not None:
            target.unlock(holder.owner, token=holder.token)  # the heartbeat was quicker
        assert "robin@elsewhere" in short_lease()
    assert ledger.holder() is None
    assert target.lock_holder().owner.startswith("robin@elsewhere")


def test_a_lock_that_can_not_be_given_back_does_not_fail_what_was_done(take, ledger, target, monkeypatch):
    def unreachable(*_: object, **__: object) -> None:
        raise DeploykitError("no engine answers")

    monkeypatch.setattr(target, "unlock", unreachable)
    with take():
        pass
    assert take.told == ["the lock was not given back, and ends by itself in 30 s: no engine answers"]
    assert ledger.holder() is None
