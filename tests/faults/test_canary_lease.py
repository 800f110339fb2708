"""A canary never outlives who judges it: its release is killed, or sleeps, and the stable version gets its users back."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from canaries import LONG, canary, is_judged, process_of, releasing, share
from harness import Load, eventually
from test_kill_strategies import STEPS

if TYPE_CHECKING:
    from harness import ReleasedService

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


def killed(released: ReleasedService, load: Load) -> None:
    """Its release is killed in its first bake, and nobody goes on with it."""
    ran = released("release", kill=KILLED)
    since = time.monotonic()
    assert ran.struck == ("verify-1", "during"), ran.output
    stable_again(released, load, since)
    said = released.status()
    assert said["unfinished"].startswith("r2 (release")
    assert said["rollout"]["lease_ended_at"] is not None
    assert said["rollout"]["share_read_back"] == 0
    assert "has the traffic back" in released.ok("status").text
    assert released.ok("history", "--check").output


def resumed(released: ReleasedService) -> None:
    ran = released("release", "--resume", "--json")
    assert ran.returncode == 1, ran.output
    assert f"the release did not answer for {SECONDS:g} s" in ran.json["reason"]
    assert ran.json["next_step"]
    assert f"did not answer for {SECONDS:g} s" in released.ok("history").text


def rolled_back(released: ReleasedService) -> None:
    assert "r2 was undone" in released.ok("rollback").text


@pytest.fixture(params=[resumed, pytest.param(rolled_back, marks=pytest.mark.every_case)])
def then(request: pytest.FixtureRequest) -> Any:
    """What is typed afterwards."""
    return request.param


def test_a_canary_whose_release_was_killed_gives_its_users_back(tiny: ReleasedService, then: Any) -> None:
    leased(tiny)
    with Load(tiny.url, clients=4) as load:
        killed(tiny, load)
        then(tiny)
        load.next_answers()
    load.assert_nothing_lost()
    assert {item["name"] for item in tiny.instances()} == {"r1-web-0"}
    assert tiny.serves(tiny.url) == "one"
    assert tiny.problems() == []


def test_a_canary_whose_release_slept_too_long_is_aborted_when_it_wakes_up(tiny: ReleasedService) -> None:
    """As on a laptop whose lid was closed."""
    leased(tiny)
    with Load(tiny.url, clients=4) as load, releasing(tiny, "--json") as ran:
        eventually(lambda: is_judged(tiny), why="it was never judged")
        eventually(lambda: load.answers["two"], why="nobody got the canary")
        process = process_of(tiny)
        os.kill(process, signal.SIGSTOP)
        since = time.monotonic()
        try:
            stable_again(tiny, load, since)
        finally:
            os.kill(process, signal.SIGCONT)
        woken = ran.result()
        load.next_answers(40)
    load.assert_nothing_lost()
    assert woken.returncode == 1, woken.output
    assert f"the release did not answer for {SECONDS:g} s" in woken.json["reason"]
    assert set(load.answers) == {"one", "two"}
    assert tiny.serves(tiny.url) == "one"
    assert tiny.problems() == []
