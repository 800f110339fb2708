"""Canaries with users: those that are good, bad, or seen by too few; and an edge that is killed or replaced meanwhile."""

from __future__ import annotations

import http.client
import re
from typing import TYPE_CHECKING

from canaries import LONG, canary, is_judged, releasing, share, weights
from harness import Load, eventually
from test_edge_killed import back_since, kill
from watching import Watched, edge_of

from deploykit.edge.process import PROGRAM

if TYPE_CHECKING:
    from harness import ReleasedService


def test_a_good_canary_gets_each_share_in_its_turn_and_then_all(tiny: ReleasedService) -> None:
    canary(tiny, {"share": 10, "bake": "1s"}, {"share": 50, "bake": "1s"})
    tiny.release("one")
    with Load(tiny.url, clients=4, pause=0.005) as load, Watched(tiny) as seen:
        ran = tiny.release("two")
        load.next_answers()
    load.assert_nothing_lost()
    assert set(load.answers) == {"one", "two"}
    assert [share for share in seen.shares if share] == [10, 50, 100]
    judged = dict(ran.steps)
    assert min(judged["verify-1"], judged["verify-2"]) >= 1.0
    assert tiny.serves(tiny.url) == "two"
    assert tiny.problems() == []


def test_a_bad_canary_is_aborted_and_few_users_have_seen_it(tiny: ReleasedService) -> None:
    canary(tiny, {"share": 25, "bake": LONG})
    tiny.release("one")
    tiny.behave("two", FAIL_EVERY=10)
    with Load(tiny.url, clients=4, pause=0.005) as load:
        ran = tiny("release", "--json")
        lost = len(load.lost)
        load.next_answers(100)
        assert len(load.lost) == lost, "the stable version has the traffic back"
    assert ran.returncode == 1, ran.output
    reason = ran.json["reason"]
    figures = re.search(r"in stage 1 of 2: (\d+) of (\d+) requests failed \((\d+\.?\d*) %\)", reason)
    assert figures is not None, reason
    failed, requests = int(figures[1]), int(figures[2])
    assert 0.05 < failed / requests < 0.25, reason
    assert set(load.lost) <= {"status 500: b'two'"}, "nothing else went wrong"
    assert failed <= lost < 0.25 * 0.1 * load.sent, "fewer than a canary causes that is left where it was"
    assert tiny.serves(tiny.url) == "one"
    assert tiny.problems() == []


def test_without_users_a_canary_is_judged_by_probes(tiny: ReleasedService) -> None:
    canary(tiny, {"share": 20, "bake": "1s"})
    tiny.release("one")
    ran = tiny.release("two")
    assert ran.text.count("No user traffic yet. Judged on 50 probe requests.") == 2
    assert tiny.serves(tiny.url) == "two"
    assert tiny.problems() == []


def test_probes_do_not_outvote_the_few_users_there_are(tiny: ReleasedService) -> None:
    """One of a tester's six requests failed: that is no proof, and no pass."""
    canary(tiny, {"share": 20, "bake": "2s"}, undecided="abort", tester_header="X-Tester", smoke=["/slow?ms=1"])
    tiny.release("one")
    tiny.behave("two", FAIL_EVERY=6)
    with releasing(tiny, "--json") as ran:
        eventually(edge_of(tiny).routes, why="it never got its share")
        statuses = [status(tiny, {"X-Tester": "yes"}) for _ in range(6)]
    assert statuses == [200] * 5 + [500]
    assert ran.result().returncode == 2, ran.result().output
    reason = ran.result().json["reason"]
    assert "given up in stage 1 of 2" in reason
    assert "of users' own, 1 of 6 requests (16.7 %) failed" in reason
    assert tiny.serves(tiny.url) == "one"
    assert tiny.problems() == []


def status(released: ReleasedService, headers: dict[str, str]) -> int:
    """Of the answer to one request with these headers."""
    connection = http.client.HTTPConnection("127.0.0.1", released.port, timeout=10)
    connection.request("GET", "/", headers={"Connection": "close", **headers})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def test_an_edge_that_is_killed_or_replaced_in_the_middle_of_a_canary_keeps_its_shares(tiny: ReleasedService) -> None:
    """A kill cuts the connections that are open, and a replacement cuts none."""
    canary(tiny, {"share": 25, "bake": LONG}, sticky=True)
    tiny.release("one")
    tiny.behave("two")
    with releasing(tiny) as ran:
        eventually(lambda: is_judged(tiny), why="it was never judged")
        edge = edge_of(tiny)
        shared, routed = weights(tiny), edge.routes()
        assert share(tiny) == 25
        assert set(routed.values()) == {"r1-web-0", "r2-web-0"}
        with Load(tiny.url, clients=4) as load:
            for hard_stop_after in (100, 200):
                edge_of(tiny, hard_stop_after=hard_stop_after).ensure()
                assert (weights(tiny), edge.routes()) == (shared, routed)
                load.next_answers(40)
        load.assert_nothing_lost()
        assert set(load.answers) == {"one", "two"}

        pid = kill(tiny, PROGRAM)
        assert tiny.serves(tiny.url) in {"one", "two"}, "who comes now waits, and is not refused"
        assert back_since(tiny, PROGRAM, pid)
        assert (weights(tiny), edge.routes()) == (shared, routed)
        with Load(tiny.url, clients=4) as load:
            load.next_answers(80)
            tiny.ok("rollout.promote")
            assert ran.result().returncode == 0, ran.result().output
            load.next_answers()
        load.assert_nothing_lost()
        assert set(load.answers) == {"one", "two"}
    assert tiny.serves(tiny.url) == "two"
    assert edge.routes() == {}
    assert tiny.problems() == []
