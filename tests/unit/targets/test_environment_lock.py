from __future__ import annotations

import pytest

from deploykit.model import DeploykitError
from deploykit.targets.environment_lock import EnvironmentLock
from deploykit.targets.interface import LockHolder


class Clock:
    now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lock(tmp_path, clock):
    return EnvironmentLock(tmp_path / "root", clock=clock)


def test_a_lease_ends_to_the_second(lock, clock):
    lock.acquire("anna", "release", token=1, lease=30)
    assert lock.holder() == LockHolder(owner="anna", reason="release", token=1, expires_at=1_030.0)
    clock.now = 1_029.9
    assert lock.acquire("bert", "release", token=2, lease=30).owner == "anna"
    clock.now = 1_030.0
    assert lock.holder() is None
    assert lock.acquire("bert", "release", token=2, lease=30) is None


def test_the_fence_holds_after_the_lease(lock, clock):
    lock.acquire("bert", "release", token=7, lease=30)
    clock.now = 5_000.0
    refused = lock.acquire("anna", "release", token=6, lease=30)
    assert (refused.owner, refused.token) == ("bert", 7)
    assert lock.holder() is None


def test_a_holder_that_lost_it_can_not_renew(lock, clock):
    lock.acquire("anna", "release", token=1, lease=30)
    clock.now = 1_031.0
    lock.acquire("bert", "release", token=2, lease=30)
    assert lock.acquire("anna", "release", token=1, lease=30).owner == "bert"


def test_a_greater_token_does_not_break_a_lock_that_is_held(lock):
    lock.acquire("anna", "release", token=1, lease=30)
    assert lock.acquire("anna", "another release", token=2, lease=30).token == 1


def test_whoever_knows_the_holder_can_break_the_lock(lock):
    lock.acquire("anna", "release", token=1, lease=30)
    held = lock.holder()
    lock.release(held.owner, token=held.token)
    assert lock.acquire("bert", "release", token=2, lease=30) is None


def test_reading_writes_nothing(lock, tmp_path):
    assert lock.holder() is None
    lock.release("anna", token=1)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_no_free_lock(lock, tmp_path):
    lock.acquire("anna", "release", token=1, lease=30)
    (tmp_path / "root" / "lock.json").write_text("{")
    with pytest.raises(DeploykitError, match="lock file is damaged") as caught:
        lock.acquire("bert", "release", token=2, lease=30)
    assert "lock.json" in caught.value.next_step


def test_a_folder_that_can_not_be_made_is_said_to_be_so(tmp_path):
    (tmp_path / "root").write_text("a file is in the way")
    with pytest.raises(DeploykitError, match="lock can't be written"):
        EnvironmentLock(tmp_path / "root").acquire("anna", "release", token=1, lease=30)


def test_only_its_owner_reads_the_lock(lock, tmp_path):
    lock.acquire("anna", "release", token=1, lease=30)
    assert (tmp_path / "root" / "lock.json").stat().st_mode & 0o077 == 0
    assert sorted(file.name for file in (tmp_path / "root").iterdir()) == ["lock.guard", "lock.json"]
