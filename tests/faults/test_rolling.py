"""Rolling and recreate releases, watched from the target and the edge while users' requests come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import PAGE, Load
from watching import Watched

if TYPE_CHECKING:
    from harness import ReleasedService


def test_a_rolling_release_keeps_to_its_limits_at_every_moment(tiny: ReleasedService) -> None:
    limits = {"max_surge": 1, "max_unavailable": 1}
    tiny.settings(replicas=3, strategy="rolling", rollout=limits)
    tiny.release("one")
    with Load(tiny.url) as load, Watched(tiny) as seen:
        tiny.release("two")
        load.next_answers()
    load.assert_nothing_lost()
    assert set(load.answers) == {"one", "two"}
    assert len(seen.moments) > 10
    assert max(len(moment.running) for moment in seen.moments) == 4
    assert min(len(moment.answering) for moment in seen.moments) == 2
    assert seen.moments[-1].running == {"r2-web-0", "r2-web-1", "r2-web-2"}
    assert tiny.problems() == []


def test_a_second_batch_that_is_bad_brings_all_old_instances_back(tiny: ReleasedService) -> None:
    tiny.settings(replicas=2, strategy="rolling", rollout={"max_surge": 0, "max_unavailable": 1})
    tiny.release("one")
    tiny.behave("two", ALONE=True)
    with Load(tiny.url) as load, Watched(tiny) as seen:
        ran = tiny("release", "--json")
        load.next_answers()
        gone = load.answers["two"]
        load.next_answers(30)
    load.assert_nothing_lost()
    assert ran.returncode == 1
    assert "exit code 4" in ran.json["reason"]
    assert gone > 0, "the first batch had users"
    assert load.answers["two"] == gone, "and has none any more"
    assert min(len(moment.answering) for moment in seen.moments) == 1
    assert {item["name"] for item in tiny.instances() if item["weight"]} == {"r1-web-0", "r1-web-1"}
    assert {item["role"] for item in tiny.instances()} == {"live"}
    assert tiny.problems() == []


def test_recreate_never_runs_two_versions_and_shows_the_maintenance_page_meanwhile(tiny: ReleasedService) -> None:
    tiny.settings(replicas=2, strategy="recreate")
    tiny.release("one")
    with Load(tiny.url, maintenance=True) as load, Watched(tiny) as seen:
        tiny.release("two")
        pages = load.answers[PAGE]
        tiny.behave("bad", CRASH=True)
        bad = tiny("release", "--json")
        load.next_answers()
    load.assert_nothing_lost()
    assert bad.returncode == 1
    assert "exit code 3" in bad.json["reason"]
    assert 0 < pages < load.answers[PAGE], "in the good release, and in the bad one"
    assert set(load.answers) == {"one", "two", PAGE}
    assert max(len(moment.releases) for moment in seen.moments) == 1
    assert {frozenset(moment.releases) for moment in seen.moments} >= {frozenset({"r1"}), frozenset({"r2"})}
    assert seen.moments[-1].answering == {"r2-web-0", "r2-web-1"}, "the version before was started again"
    assert tiny.serves(tiny.url) == "two"
    assert tiny.problems() == []


def test_maintenance_by_hand_loses_no_request_and_a_release_leaves_it_as_it_is(tiny: ReleasedService) -> None:
    tiny.release("one")
    with Load(tiny.url, maintenance=True) as load:
        assert "get the maintenance page from now on" in tiny.ok("maintenance.on").text
        load.next_answers()
        before = load.answers["one"]
        assert "already" in tiny.ok("maintenance.on").text
        tiny.release("two")
        load.next_answers()
        assert load.answers == {"one": before, PAGE: load.answers[PAGE]}
        assert "get the app again" in tiny.ok("maintenance.off").text
        load.next_answers()
    load.assert_nothing_lost()
    assert tiny.serves(tiny.url) == "two"
    assert tiny.problems() == []
