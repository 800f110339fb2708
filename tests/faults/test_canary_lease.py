"""A canary never outlives who judges it: its release is killed, or sleeps, and the stable version gets its users back."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from canaries import LONG, canary, is_judged, process_of, releasing, share
from harness import Load, eventually
from test_kill_strategies import STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness import Machine, ReleasedService

SECONDS = 10.0
"""Of the lease: the settings' least."""
LATE = 3.0
"""Seconds after the lease's end by which users have to have the stable version."""
KILLED: dict[str, Any] = {"step": STEPS["canary"].index("verify-1"), "point": "during", "delay": 1.5}


def leased(released: ReleasedService) -> None:
    """`one` is live, `two` is about to be a canary."""
    canary(released, {"share": 25, "bake": LONG}, lease=f"{SECONDS:g}s", sticky=True)
    released.release("one")
    released.behave("two")


def stable_again(released: ReleasedService, load: Load, since: float) -> None:
    """Wait until users get the stable version alone, as long after `since` as a lease allows."""
    assert share(released) == 25
    assert load.answers["two"] > 0
    within = since + SECONDS + LATE - time.monotonic()
    eventually(lambda: share(released) == 0, within=within, why="the canary outlived its lease")
    load.next_answers()  # those that were in flight
    before = load.answers["two"]
    load.next_answers(40)
    assert load.answers["two"] == before


def killed(released: ReleasedService, then: Callable[[ReleasedService], None]) -> None:
    """Its release is killed in its first bake. Nobody goes on with it, until the lease has ended."""
    leased(released)
    with Load(released.url, clients=4) as load:
        ran = released("release", kill=KILLED)
        since = time.monotonic()
        assert ran.struck == ("verify-1", "during"), ran.output
        stable_again(released, load, since)
        said = released.status()
        assert said["unfinished"].startswith("r2 (release")
        assert said["rollout"]["lease_ended_at"] is not None
        assert said["rollout"]["share_read_back"] == 0
        assert "has the traffic back" in released.ok("status").text
        released.ok("history", "--check")
        then(released)
        load.next_answers()
    load.assert_nothing_lost()
    as_before(released)


def asleep(released: ReleasedService) -> None:
    """Its release stands still in its first bake, as on a laptop whose lid is closed, and wakes up too late."""
    leased(released)
    with Load(released.url, clients=4) as load, releasing(released, "--json") as ran:
        eventually(lambda: is_judged(released), why="it was never judged")
        eventually(lambda: load.answers["two"], why="nobody got the canary")
        process = process_of(released)
        os.kill(process, signal.SIGSTOP)
        try:
            stable_again(released, load, time.monotonic())
        finally:
            os.kill(process, signal.SIGCONT)
        woken = ran.result()
        load.next_answers(40)
    load.assert_nothing_lost()
    assert woken.returncode == 1, woken.output
    assert f"the release did not answer for {SECONDS:g} s" in woken.json["reason"]
    as_before(released)


def as_before(released: ReleasedService) -> None:
    assert {item["name"] for item in released.instances()} == {"r1-web-0"}
    assert released.serves(released.url) == "one"
    assert released.problems() == []


def resumed(released: ReleasedService) -> None:
    """The end of the lease is the end of the release, and it says so."""
    ran = released("release", "--resume", "--json")
    assert ran.returncode == 1, ran.output
    assert f"the release did not answer for {SECONDS:g} s" in ran.json["reason"]
    assert ran.json["next_step"]
    assert f"did not answer for {SECONDS:g} s" in released.ok("history").text


def rolled_back(released: ReleasedService) -> None:
    assert "r2 was undone" in released.ok("rollback").text


@pytest.fixture
def other(machine: Machine, tmp_path: Path) -> Iterator[ReleasedService]:
    with machine.service(tmp_path / "other") as made:
        yield made


@pytest.mark.parametrize("then", [resumed, pytest.param(rolled_back, marks=pytest.mark.every_case)])
def test_a_canary_that_nobody_judges_any_more_gives_its_users_back(
    tiny: ReleasedService, other: ReleasedService, then: Callable[[ReleasedService], None]
) -> None:
    """Side by side, since both mostly wait for the end of a lease."""
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(killed, tiny, then), pool.submit(asleep, other)]
        for each in both:
            each.result()
