"""Rolling and recreate releases, watched from the target and the edge while users' requests come in."""

from __future__ import annotations

import http.client
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


def test_maintenance_is_switched_on_and_off_by_hand_and_shows_the_apps_own_page(tiny: ReleasedService) -> None:
    (tiny.repo / "maintenance.html").write_text(f"<h1>The depot is being painted.</h1><p>{PAGE}</p>\n")
    tiny.settings(edge={"maintenance_page": "maintenance.html"})
    tiny.release("one")
    with Load(tiny.url, maintenance=True) as load:
        assert "get the maintenance page from now on" in tiny.ok("maintenance.on").text
        load.next_answers()
        before = load.answers["one"]
        assert "already" in tiny.ok("maintenance.on").text
        load.next_answers()
        assert load.answers["one"] == before
        tiny.release("two")
        load.next_answers()
        assert set(load.answers) == {"one", PAGE}, "a release leaves maintenance as it is"
        assert page(tiny.port) == (503, (tiny.repo / "maintenance.html").read_text())
        assert "get the app again" in tiny.ok("maintenance.off").text
        load.next_answers()
    load.assert_nothing_lost()
    assert "two" in load.answers
    assert tiny.problems() == []


def page(port: int) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/", headers={"Connection": "close"})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text
