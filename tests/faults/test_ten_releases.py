"""Releases in a row under load from keep-alive clients that never retry, some of them bad: no request is lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from harness import KEPT_WARM, Load, eventually, get, held_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import ReleasedService

TEN: list[tuple[str, dict[str, object]]] = [
    ("one", {}),
    ("two", {}),
    ("crash", {"CRASH": True}),
    ("three", {}),
    ("slow", {"SLOW_HEALTH": 2.0}),
    ("four", {}),
    ("five hundred", {"HEALTH_STATUS": 500}),
    ("five", {}),
    ("late", {"SLOW_START": 1.5}),
    ("six", {}),
]
BAD = {"crash", "five hundred"}


@pytest.fixture
def series(every_case: bool) -> list[tuple[str, dict[str, object]]]:
    """The releases, by name and behaviour: by default the last five, a bad one, a slow one and a late one of them."""
    return TEN if every_case else TEN[-5:]


@pytest.mark.parametrize("replicas", [pytest.param(1, marks=pytest.mark.every_case), 2])
def test_releases_in_a_row_lose_no_request(
    tiny: ReleasedService,
    counted: Callable[[str], None],
    series: list[tuple[str, dict[str, object]]],
    replicas: int,
) -> None:
    tiny.settings(replicas=replicas, warm_for=KEPT_WARM)
    tiny.release("zero")
    live, took = "zero", []
    gets = Load(tiny.url, clients=6, pause=0.003)
    posts = Load(tiny.url, clients=2, pause=0.01, post=20_000)
    slow = Load(tiny.url, clients=2, path="/slow?ms=300")
    with gets, posts, slow:
        for text, how in series:
            tiny.behave(text, **how)
            ran = tiny("release", "--json")
            report = ran.json
            if text in BAD:
                assert ran.returncode == 1
                assert report["outcome"] == "failed"
            else:
                assert ran.returncode == 0, ran.output
                live = text
            assert tiny.serves(tiny.url) == live
            took.append(sum(stage["seconds"] for stage in report["stages"]))
            if text == "crash":
                assert "exit code 3" in report["reason"]
            if text == "five hundred":
                assert "500" in report["reason"]
            gets.next_answers()
    for load in (gets, posts, slow):
        load.assert_nothing_lost()
    assert set(gets.answers) == {"zero"} | {text for text, _ in series} - BAD, "each good version was used, no bad one"
    running = [item for item in tiny.instances() if item["state"] == "running"]
    assert len(running) == 2 * replicas, "the live version, and the one before kept warm"
    assert tiny.problems() == []
    counted(
        f"{gets.sent + posts.sent + slow.sent} requests, 0 lost; longest of the quick ones {gets.longest:.3f} s; "
        f"releases took {min(took):.1f} to {max(took):.1f} s"
    )


def test_a_crash_at_start_is_given_up_and_says_why(tiny: ReleasedService) -> None:
    tiny.release("one")
    tiny.behave("two", CRASH=True)
    ran = tiny("release", "--json")
    report = ran.json
    assert ran.returncode == 1
    for words in ("exit code 3", "tiny: the flux capacitor is missing", "next:"):
        assert words in ran.text
    assert "exit code 3" in report["reason"]
    assert any("flux capacitor" in line for line in report["details"])
    assert report["next_step"]
    assert tiny.serves(tiny.url) == "one"
    assert len(tiny.instances()) == 1


def test_a_health_path_that_answers_500_is_given_up_and_says_why(tiny: ReleasedService) -> None:
    tiny.release("one")
    tiny.behave("two", HEALTH_STATUS=500)
    ran = tiny("release", "--json")
    report = ran.json
    assert ran.returncode == 1
    for words in ("status 500", 'body: {"status": "unhealthy"', "log lines", "listens on", "next:"):
        assert words in ran.text
    assert "500" in report["reason"]
    assert tiny.serves(tiny.url) == "one"
    assert len(tiny.instances()) == 1


def test_failed_releases_never_evict_what_can_be_rolled_back_to(tiny: ReleasedService) -> None:
    """Three failures in a row, each in another stage; the version before the live one is as warm as it was."""
    tiny.settings(warm_for=KEPT_WARM)
    tiny.release("one")
    tiny.release("two")
    before = {item["name"]: item["address"] for item in tiny.instances()}
    with Load(tiny.url) as load:
        for how in ({"CRASH": True}, {"HEALTH_STATUS": 500}, {}):
            # The third is good, and its thresholds are such that no version could keep to them.
            tiny.settings(warm_for=KEPT_WARM, thresholds={} if how else {"p95_ms": 0.001})
            tiny.behave("bad", **how)
            assert tiny("release").returncode == 1
        assert {item["name"]: item["address"] for item in tiny.instances()} == before
        tiny.ok("rollback")
        load.next_answers()
    load.assert_nothing_lost()
    assert tiny.serves(tiny.url) == "one"
    assert {item["name"]: item["address"] for item in tiny.instances()} == before, "nothing was started again"
    assert tiny.problems() == []


def test_a_long_request_that_is_in_flight_during_the_switch_is_answered(tiny: ReleasedService) -> None:
    tiny.release("one")
    with ThreadPoolExecutor(1) as pool:
        # Longer than a release takes, so that it is in flight at the switch and drained afterwards.
        answer = pool.submit(get, tiny.url, "/slow?ms=4000", timeout=30)
        tiny.behave("two")
        report = tiny.ok("release", "--json").json
        assert tiny.serves(tiny.url) == "two"
    assert answer.result() == "one"
    assert report["outcome"] == "done"
    assert tiny.problems() == []


def running(released: ReleasedService) -> list[str]:
    return sorted(item["name"] for item in released.instances() if item["state"] == "running")


def test_a_request_that_outlives_the_drain_goes_on_through_the_next_releases_and_is_told(
    tiny: ReleasedService,
) -> None:
    tiny.settings(warm_for=KEPT_WARM)
    tiny.release("one")
    with held_request(tiny.url) as finish:
        tiny.behave("two")
        second = tiny.ok("release", "--json")
        assert sum("not answered yet: 1 request on r1-web-0" in text for text in second.json["warnings"]) == 1
        drained = dict(second.steps)["drain"]
        assert drained < 15, "the lock is not held for the whole of the drain limit"
        tiny.behave("three")
        third = tiny.ok("release", "--json")
        assert sum("not answered yet: 1 request on r1-web-0" in text for text in third.json["warnings"]) == 1
        assert running(tiny) == ["r1-web-0", "r2-web-0", "r3-web-0"]
        assert finish() == "one"
    assert tiny.problems() == []
    tiny.release("four")
    assert running(tiny) == ["r3-web-0", "r4-web-0"]


def test_a_request_that_outlives_the_warm_window_is_cut_off_and_told(tiny: ReleasedService) -> None:
    tiny.settings(warm_for=0, drain_timeout=2)
    tiny.release("one")
    with held_request(tiny.url):
        tiny.release("two")
        assert running(tiny) == ["r1-web-0", "r2-web-0"], "it gets the drain limit at least"
        eventually(lambda: "nothing is due" not in (said := tiny("reap").output) and "cut off" in said)
        assert running(tiny) == ["r2-web-0"]
    assert tiny.problems() == []
