"""What must not be green, with users' requests coming in all the while."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
from typing import TYPE_CHECKING

import pytest
from harness import Load, eventually

if TYPE_CHECKING:
    from pathlib import Path

    from harness import ReleasedService

ENDS = "python -c 'import time; time.sleep({seconds})'"


def copy_ledger(source: Path, to: Path) -> None:
    with contextlib.closing(sqlite3.connect(source)) as old, contextlib.closing(sqlite3.connect(to)) as new:
        old.backup(new)


def test_a_release_with_an_older_ledger_is_refused_and_users_keep_what_they_have(
    tiny: ReleasedService, tmp_path: Path
) -> None:
    tiny.release("one")
    ledger = tiny.paths.ledger
    copy_ledger(ledger, tmp_path / "older")
    tiny.release("bad")
    for path in ledger.parent.glob(f"{ledger.name}*"):
        path.unlink()
    shutil.copy(tmp_path / "older", ledger)
    tiny.behave("fixed")
    with Load(tiny.url) as load:
        unknown = tiny("release")
        tiny.ok("ledger.accept")  # it is a backup, say
        ran = tiny("release")
        load.next_answers()
    assert unknown.returncode == 1, unknown.output
    assert "the ledger of local does not hold" in unknown.text
    assert ran.returncode == 3, ran.output
    assert "another ledger than this one" in ran.text
    load.assert_nothing_lost()
    assert set(load.answers) == {"bad"}
    looked = tiny("status", "--json")
    assert looked.returncode == 1
    assert looked.json["problems"], "the ledger says one, and users get bad"


def test_pages_that_fail_behind_a_healthy_path_fail_the_release(tiny: ReleasedService) -> None:
    """Without smoke checks nothing but users' requests can show it: what they got before it was seen is the cost."""
    tiny.settings(smoke=[])
    tiny.behave("one")
    first = tiny.ok("release")
    assert first.text.count("no smoke checks are set") == 1
    tiny.settings(smoke=[], watch=["10s"])
    tiny.behave("broken", PAGE_STATUS=500)
    with Load(tiny.url) as load:
        ran = tiny("release", "--json")
        assert ran.returncode == 1, ran.output
        assert "requests failed" in ran.json["reason"]
        lost = len(load.lost)
        load.next_answers()
        assert len(load.lost) == lost, "the version before has the traffic back"
    assert set(load.answers) == {"one"}
    assert 0 < lost < 400
    assert tiny.problems() == []


def test_status_and_verify_say_what_users_get_and_what_was_started_again(tiny: ReleasedService) -> None:
    """Nobody came during the release, and nothing had ended yet: it is live, and what shows later is said later."""
    tiny.settings(smoke=["/health"], worker=ENDS.format(seconds=600))
    tiny.behave("one", PAGE_STATUS=500)
    tiny.ok("release")
    (worker,) = [item["pid"] for item in tiny.instances() if item["name"] == "r1-worker-0"]
    os.kill(worker, signal.SIGKILL)
    with Load(tiny.url, pause=0.005) as load:
        eventually(lambda: load.sent > 60)
        eventually(lambda: any(item["restarts"] for item in tiny("status", "--json").json["instances"]))
        looked, judged = tiny("status", "--json"), tiny("verify", "--json")
    assert looked.returncode == 1
    assert any("r1-worker-0 ended by itself" in problem for problem in looked.json["problems"])
    assert judged.returncode == 1
    failed = {check["name"]: check["message"] for check in judged.json["checks"] if not check["passed"]}
    assert "requests failed" in failed["requests"]
    seen = judged.json["judgement"]["figures"]["candidate"]
    assert seen["requests"] - seen["probes"] >= 50
    assert "r1-worker-0 restarts" in failed or "r1-worker-0" in failed
    smoked = [check["name"] for check in judged.json["checks"] if check["name"].endswith("smoke")]
    assert smoked == ["r1-web-0 smoke"], "a worker takes no requests"


@pytest.mark.parametrize("which", ["web", "worker"])
def test_a_process_that_ends_again_and_again_fails_the_release(tiny: ReleasedService, which: str) -> None:
    tiny.release("one")
    tiny.settings(watch=["5s"], worker=ENDS.format(seconds=1) if which == "worker" else "")
    tiny.behave("two", **({"EXIT_AFTER": 1.0} if which == "web" else {}))
    with Load(tiny.url, clients=1, pause=0.05) as load:
        ran = tiny("release", "--json")
        assert ran.returncode == 1, ran.output
        load.next_answers(5)
    if which == "worker":
        load.assert_nothing_lost()
        assert "r2-worker-0 ended by itself" in ran.json["reason"]
    assert tiny.serves(tiny.url) == "one"
    assert tiny.problems() == []


def test_a_rollback_passes_over_a_release_of_the_same_version(tiny: ReleasedService) -> None:
    tiny.release("one")
    tiny.release("two")
    tiny.ok("release")
    with Load(tiny.url) as load:
        ran = tiny.ok("rollback", "--json")
        load.next_answers()
        assert tiny.serves(tiny.url) == "one"
    load.assert_nothing_lost()
    assert ran.json["live"].endswith("(r1)")
    assert ran.json["back_to"] == "", "there is nothing older, and two is what was rolled back from"


def test_pages_are_served_although_the_health_path_fails_after_the_release(tiny: ReleasedService) -> None:
    """The proxy has nobody better to ask: it would answer 503 where the page works."""
    tiny.release("one")
    tiny.behave("two", HEALTH_FAILS_AFTER=2.0)
    tiny.ok("release")
    with Load(tiny.url) as load:
        eventually(lambda: tiny("verify").returncode == 1)
        load.next_answers(300)  # three checks, half a second apart, fail in that time
    load.assert_nothing_lost()
    assert set(load.answers) == {"two"}
