"""People steer a canary from other terminals than the one it was released from."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from canaries import LONG, canary, is_judged, releasing, share
from harness import Load, ReleasedService, eventually

ANN, BEN = {"DEPLOYKIT_ACTOR": "ann"}, {"DEPLOYKIT_ACTOR": "ben"}


def asked(released: ReleasedService) -> list[tuple[Any, ...]]:
    """What the ledger says of the newest release: who asked for what, oldest first."""
    newest = json.loads(released.ok("history", "--json").output)[0]
    return [(each["actor"], each["command"]) for each in sorted(newest["requests"], key=lambda each: each["number"])]


def test_a_second_terminal_pauses_continues_promotes_and_aborts(tiny: ReleasedService) -> None:
    canary(tiny, {"share": 20, "bake": LONG}, {"share": 50, "bake": LONG})
    tiny.release("one")
    tiny.behave("two")
    with Load(tiny.url) as load, releasing(tiny, "--json") as ran:
        eventually(lambda: is_judged(tiny), why="it was never judged")
        assert "stage 1 of 3 is paused" in tiny.ok("rollout.pause", env=ANN).text
        assert tiny.status()["rollout"]["paused_by"] == "ann"
        again = tiny("rollout.pause", env=BEN)
        assert (again.returncode, "ann has paused stage 1 of 3 already" in again.text) == (1, True), again.output
        assert "stage 1 of 3 goes on" in tiny.ok("rollout.continue", "--reason", "lunch is over", env=BEN).text
        assert share(tiny) == 20
        assert "stage 1 of 3 is promoted" in tiny.ok("rollout.promote", env=BEN).text
        eventually(lambda: is_judged(tiny, 2), why="it did not go on")
        assert share(tiny) == 50
        assert "is aborted" in tiny.ok("rollout.abort", "--reason", "the colours", env=ANN).text
        assert ran.result().returncode == 1
        load.next_answers()
    load.assert_nothing_lost()
    assert "aborted by ann in stage 2 of 3" in ran.result().json["reason"]
    assert asked(tiny) == [
        ("ann", "pause"),
        ("ben", "pause"),
        ("ben", "continue"),
        ("ben", "promote"),
        ("ann", "abort"),
    ]
    told = tiny.ok("history").text
    assert "ben asked to continue" in told
    assert "(lunch is over)" in told
    assert tiny.serves(tiny.url) == "one"
    assert tiny.problems() == []
    refused = tiny("rollout.promote")
    assert refused.returncode == 3
    assert "there is no rollout to promote in local" in refused.text


def test_two_people_at_once_get_one_answer_each(tiny: ReleasedService) -> None:
    canary(tiny, {"share": 20, "bake": LONG}, {"share": 50, "bake": LONG})
    tiny.release("one")
    tiny.behave("two")
    with Load(tiny.url) as load, releasing(tiny, "--json") as ran, ThreadPoolExecutor(2) as pool:
        eventually(lambda: is_judged(tiny), why="it was never judged")
        both = [
            pool.submit(tiny, "rollout.promote", "--json", env=ANN),
            pool.submit(tiny, "rollout.abort", "--json", env=BEN),
        ]
        promoted, aborted = (each.result() for each in both)
        assert ran.result().returncode == 1
        load.next_answers()
    load.assert_nothing_lost()
    assert aborted.returncode == 0, aborted.output
    assert "is aborted" in aborted.json["answer"]
    # Who was heard first decides about the stage; a promotion takes nothing from who aborts the next one.
    followed = "stage 1 of 3 is promoted"
    refused = {(1, f"changes nothing: ben has {what}") for what in ("aborted stage 1 of 3", "asked for abort before")}
    assert (promoted.returncode, promoted.json["answer"]) in {(0, followed), *refused}, promoted.output
    assert sorted(asked(tiny)) == [("ann", "promote"), ("ben", "abort")]
    assert "aborted by ben" in ran.result().json["reason"]
    assert tiny.serves(tiny.url) == "one"
    assert tiny.problems() == []
