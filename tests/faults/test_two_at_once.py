"""One change at a time: of two releases one wins, and the other is told who holds the environment."""

from __future__ import annotations

import getpass
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import foreign_repo
import pytest
from harness import Load, Machine, Ran, ReleasedService, eventually

if TYPE_CHECKING:
    from pathlib import Path

SLOW_HEALTH = "deploykit.verify.health:wait_healthy"
SLOW_LOWER = "deploykit.release.execution.actions:RolloutActions._lower"


@pytest.fixture(params=["the same clone", "another clone"])
def other(tiny: ReleasedService, request: pytest.FixtureRequest, tmp_path: Path) -> ReleasedService:
    """Somebody else who releases the same app on the same machine."""
    return somebody(tiny, tmp_path, request.param)


def somebody(released: ReleasedService, folder: Path, where: str) -> ReleasedService:
    repo = released.repo
    if where == "another clone":
        repo = folder / "clone"
        foreign_repo.git(folder, "clone", "--quiet", str(released.repo), str(repo))
    made = replace(released, repo=repo, commits={})
    made.settings()
    return made


def held_by(ran: Ran) -> bool:
    text = ran.text
    return f"locked by {getpass.getuser()}@" in text and " pid " in text and "(release)" in text


def test_of_two_releases_one_wins_and_the_other_is_told_who_holds_it(
    tiny: ReleasedService, other: ReleasedService
) -> None:
    tiny.release("one")
    with Load(tiny.url) as load, ThreadPoolExecutor(1) as pool:
        tiny.behave("two")
        first = pool.submit(tiny, "release", pauses=[{"where": SLOW_HEALTH, "seconds": 2.0}])
        eventually(lambda: other.status()["lock"], why="nobody took the lock")
        if other.repo != tiny.repo:
            other.behave("three")
        second = other("release")
        rolled = other("rollback")
        assert first.result().returncode == 0, first.result().output
        load.next_answers()
    load.assert_nothing_lost()
    for refused in (second, rolled):
        assert refused.returncode == 1
        assert held_by(refused), refused.output
        assert "next: wait" in refused.text
        assert refused.calls == ["acquire"], "it wrote nothing"
    assert tiny.serves(tiny.url) == "two"
    assert len(tiny.instances()) == 2
    assert tiny.problems() == []

    other.release("four")
    assert tiny.serves(tiny.url) == "four"
    assert tiny.problems() == []


def test_two_releases_at_the_very_same_moment_leave_one_version_with_the_traffic(
    tiny: ReleasedService, other: ReleasedService, every_case: bool
) -> None:
    tiny.release("one")
    with Load(tiny.url) as load, ThreadPoolExecutor(2) as pool:
        for number in range(8 if every_case else 2):
            tiny.behave(f"first {number}")
            if other.repo != tiny.repo:
                other.behave(f"second {number}")
            both = [pool.submit(who, "release") for who in (tiny, other)]
            ran = [future.result() for future in both]
            assert {item.returncode for item in ran} <= {0, 1}
            assert any(item.returncode == 0 for item in ran), [item.output for item in ran]
            for item in ran:
                assert item.returncode == 0 or held_by(item), item.output
            assert tiny.serves(tiny.url) in {f"first {number}", f"second {number}"}
            assert tiny.problems() == []
        load.next_answers()
    load.assert_nothing_lost()


def test_a_lock_that_a_killed_process_left_behind_is_taken_over_and_that_is_said(
    tiny: ReleasedService, other: ReleasedService
) -> None:
    tiny.release("one")
    tiny.behave("two")
    killed = tiny("release", kill={"step": 4, "point": "after-intent"})
    assert killed.returncode == -9
    assert ", which has ended)" in other.status()["lock"]
    other.behave("two")
    ran = other.ok("release")
    assert "left behind by a process that has ended: taken over" in ran.text
    assert tiny.serves(tiny.url) == "two"
    assert tiny.problems() == []


def test_a_lock_by_hand_keeps_everybody_out_until_it_is_taken_away(
    tiny: ReleasedService, other: ReleasedService
) -> None:
    tiny.release("one")
    tiny.ok("lock", "--reason", "the fair is on until Sunday")
    assert "the fair is on until Sunday" in tiny.status()["lock"]
    tiny.behave("two")
    other.behave("two")
    for who in (tiny, other):
        for command in ("release", "rollback", "down"):
            refused = who(command)
            assert refused.returncode == 1
            assert "the fair is on until Sunday" in refused.text
            assert "invoke unlock --env local" in refused.text
    assert tiny.serves(tiny.url) == "one"

    assert "is free again" in other.ok("unlock").output
    assert tiny.problems() == []
    other.ok("release")
    assert tiny.serves(tiny.url) == "two"


@pytest.mark.parametrize("then", ["release", "rollback"])
def test_unlock_spares_who_is_at_work_unless_it_is_forced(
    tiny: ReleasedService, other: ReleasedService, then: str
) -> None:
    """Forced in the middle of the switch: the one who lost the lock stops acting, and the next command settles it."""
    tiny.release("one")
    with Load(tiny.url) as load, ThreadPoolExecutor(1) as pool:
        tiny.behave("two")
        first = pool.submit(tiny, "release", pauses=[{"where": SLOW_LOWER, "seconds": 3.0}])
        eventually(lambda: len(other.instances()) == 2 and other.status()["instances"][1]["weight"] == 100)
        spared = other("unlock")
        assert spared.returncode == 3
        assert "is at work: release" in spared.text
        other.ok("unlock", "--force", "--reason", "it must stop")
        lost = first.result()
        assert lost.returncode == 1
        assert "The lock on local was lost" in lost.text
        assert other.status()["unfinished"].startswith("r2 (release")
        other.behave("three")
        other.ok(then)
        load.next_answers()
    load.assert_nothing_lost()
    assert tiny.serves(tiny.url) == ("three" if then == "release" else "one")
    assert tiny.problems() == []


def test_two_apps_do_not_wait_for_each_other(tiny: ReleasedService, machine: Machine, tmp_path: Path) -> None:
    tiny.release("one")
    with machine.service(tmp_path / "neighbour") as neighbour, ThreadPoolExecutor(1) as pool:
        tiny.behave("two")
        first = pool.submit(
            tiny, "release", pauses=[{"where": SLOW_HEALTH, "seconds": 20.0}], signal={"how": "SIGTERM", "after": 4.0}
        )
        eventually(lambda: tiny.status()["lock"])
        neighbour.release("hello")
        assert not first.done()
        assert neighbour.serves(neighbour.url) == "hello"
        assert first.result().returncode == 1
