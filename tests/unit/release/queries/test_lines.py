"""What status, history, --plan and verify print, each with the next thing to type."""

from __future__ import annotations

import io
import time

import pytest

from deploykit.edge.interface import Lease
from deploykit.model import DeploykitError, ReleaseOutcome
from deploykit.release.queries.dry_run import Planned, rehearse, sentences
from deploykit.release.queries.history import Checked, history_lines, read_history
from deploykit.release.queries.rollout_status import RolloutStatus
from deploykit.release.queries.status import InstanceStatus, Status
from deploykit.release.queries.status_lines import status_lines
from deploykit.release.queries.verify import Verified
from deploykit.rollout import CanaryStep, Strategy
from tests.shared.rollouts import plan_of

PIPE = io.StringIO()


def instance(name: str = "r2-web-0", **changes) -> InstanceStatus:
    values = {
        "name": name,
        "version": "2.0.0",
        "release": name.partition("-")[0],
        "state": "running",
        "address": "127.0.0.1:20001",
        "weight": 100,
        "in_flight": 0,
        "restarts": 0,
        "exit_code": None,
        "role": "live",
        "pid": 7,
    }
    return InstanceStatus(**{**values, **changes})


def status(**changes) -> list[str]:
    values = {
        "app": "shop",
        "environment": "local",
        "url": "http://127.0.0.1:20000",
        "edge": "running",
        "live": "r2",
        "version": "2.0.0",
        "since": time.time() - 65,
        "instances": (instance(),),
        "lock": "",
        "unfinished": "",
        "at_work": False,
        "target": "process",
        "supervised_by": "pid 3",
        "warm_until": None,
    }
    lines = status_lines(Status(**{**values, **changes}), PIPE)
    assert max(map(len, lines)) <= 80
    return lines


def test_all_is_well():
    warm = instance("r1-web-0", version="1.0.0", weight=None, role="warm", state="exited", exit_code=-9, restarts=2)
    assert status(instances=(instance(), warm), warm_until=time.time() + 3_000) == [
        "shop in local",
        "  live        2.0.0 (r2), for 1 min",
        "  url         http://127.0.0.1:20000 (running)",
        "  supervisor  pid 3",
        "  warm        the version before, for another 49 min",
        "",
        "INSTANCE  VERSION  ROLE  STATE      ADDRESS          WEIGHT  RESTARTS",
        "r2-web-0  2.0.0    live  running    127.0.0.1:20001  100     0",
        "r1-web-0  1.0.0    warm  exited -9  127.0.0.1:20001  -       2",
        "",
        "  next  invoke history --env local",
        "  next  invoke logs --env local --follow",
    ]


def test_nothing_was_released():
    lines = status(live="", version="", since=None, instances=(), edge="not running", supervised_by="")
    assert "  live        nothing" in lines
    assert lines[-1] == "  next  invoke release --env local"


def test_a_release_that_is_at_work_is_waited_for():
    lines = status(unfinished="r3 (release of 3.0.0)", at_work=True, lock="robin@host (pid 9): release")
    assert "  lock        robin@host (pid 9): release" in lines
    assert "  release     r3 (release of 3.0.0) is being done" in lines
    assert lines[-1] == "  next  wait until it is done, then: invoke status --env local"


def test_a_release_that_was_killed_is_resumed_or_undone():
    lines = status(unfinished="r3 (release of 3.0.0)", lock="robin@host (pid 9, which has ended): release")
    assert "  release     r3 (release of 3.0.0) was left unfinished" in lines
    assert lines[-2:] == [
        "  next  invoke release --env local --resume   (finish it)",
        "  next  invoke rollback --env local   (undo it)",
    ]


def test_without_its_supervisor_nothing_comes_back():
    assert "without its supervisor, what ends is not started again" in " ".join(
        " ".join(status(supervised_by="")[-2:]).split()
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"instances": ()},
        {"instances": (instance(state="exited", exit_code=1),)},
        {"instances": (instance("r3-web-0", role="left over"),)},
    ],
)
def test_what_is_on_record_and_does_not_run_is_not_called_live(changes):
    lines = status(**changes)
    assert "  live        nothing: 2.0.0 (r2) is live in the ledger and does not run" in lines
    assert lines[-1] == "  next  invoke release --env local   (what is live in the ledger does not run)"


def test_without_the_edge_nobody_is_served():
    assert status(edge="not running")[-1].startswith("  next  invoke release --env local")


def rollout(**changes) -> RolloutStatus:
    values = {
        "release": "r3",
        "version": "3.0.0",
        "over": "2.0.0 (r2)",
        "stage": 2,
        "stages": 4,
        "share": 25,
        "share_read_back": 24.8148,
        "since": time.time() - 185,
        "doing": "it is judged",
        "undoing": False,
        "undecided": "",
        "confirm": False,
        "paused_by": "",
        "lease_ends_at": time.time() + 42.5,
        "lease_ended_at": None,
    }
    return RolloutStatus(**{**values, **changes})


def rolling_out(**changes) -> list[str]:
    lock = "robin@host (pid 9): release"
    lines = status(unfinished="r3 (release of 3.0.0)", at_work=True, lock=lock, rollout=rollout(**changes))
    return [
        line for line in lines if line.startswith(("  rollout ", "  undecided ", "  paused ", "  lease ", "  next "))
    ]


def test_a_rollout_says_how_far_it_is_and_what_can_be_done_about_it():
    assert rolling_out() == [
        "  rollout     stage 2 of 4, 25 % wanted, 24.8 % read back, for 3 min; it is",
        "  lease       ends in 42 s unless the release renews it",
        "  next  wait until it is done, then: invoke status --env local",
        "  next  invoke rollout.abort --env local   (give the traffic back)",
    ]


def test_a_rollout_that_waits_for_a_person_says_how_it_goes_on():
    assert rolling_out(paused_by="eve")[1:2] == ["  paused      by eve"]
    assert "  next  invoke rollout.continue --env local   (go on)" in rolling_out(paused_by="eve")
    waits = rolling_out(undecided="12 of 200 requests so far")
    assert waits[1] == "  undecided   12 of 200 requests so far"
    assert waits[-2:] == [
        "  next  invoke rollout.promote --env local   (go on)",
        "  next  invoke rollout.abort --env local   (give the traffic back)",
    ]
    assert "  next  invoke rollout.continue --env local   (confirm it, once it waits)" in rolling_out(confirm=True)
    assert len(rolling_out(undoing=True)) == 3


def test_a_rollout_whose_lease_ended_says_who_has_the_traffic_back():
    dead = {"unfinished": "r3 (release of 3.0.0)", "lock": "", "at_work": False}
    ended = {"doing": "nobody is at work on it", "lease_ended_at": 1_800_000_000.0, "lease_ends_at": None}
    lines = status(**dead, rollout=rollout(share_read_back=0.0, **ended))
    assert "nobody is at work on it" in " ".join(" ".join(lines).split())
    assert "  lease       ended at 2027-01-15 08:00 UTC: 2.0.0 (r2) has the traffic back" in lines
    assert lines[-2:] == [
        "  next  invoke release --env local --resume   (finish it)",
        "  next  invoke rollback --env local   (undo it)",
    ]


def test_one_stage_without_an_edge_and_a_lease_is_said_in_one_line():
    said = rolling_out(stage=1, stages=1, share=100, share_read_back=None, lease_ends_at=None)
    assert said == [
        "  rollout     100 % wanted, for 3 min; it is judged",
        "  next  wait until it is done, then: invoke status --env local",
    ]


def test_maintenance_says_since_when_and_how_it_ends():
    lines = status(maintenance_since=time.time() - 725, maintenance_by="ann")
    assert "  maintenance on for 12 min, by ann: users get the maintenance page" in lines
    assert lines[-1] == "  next  invoke maintenance.off --env local   (users get the app again)"


def record(**changes) -> dict:
    now = time.time()
    values = {
        "release": "r1",
        "kind": "release",
        "version": "1.0.0",
        "outcome": "done",
        "proven": True,
        "live": True,
        "reason": "",
        "actor": "robin",
        "started_at": now - 70,
        "finished_at": now - 65,
        "requests": [],
    }
    return {**values, **changes}


def test_the_history_is_a_table_with_the_reasons_below():
    failed = record(release="r2", version="2.0.0", outcome="failed", live=False, reason="it crashed " * 10)
    running = record(release="r3", outcome="running", live=False, finished_at=None)
    assert history_lines([running, failed, record()], "local", PIPE) == [
        "RELEASE  KIND     VERSION  OUTCOME  TOOK   WHEN       WHO",
        "r3       release  1.0.0    running         1 min ago  robin",
        "r2       release  2.0.0    failed   5.0 s  1 min ago  robin",
        "r1*      release  1.0.0    done     5.0 s  1 min ago  robin",
        "  r2: it crashed it crashed it crashed it crashed it crashed it crashed it",
        "      crashed it crashed it crashed it crashed",
        "",
        "* has the traffic",
    ]


def test_what_people_asked_of_a_release_stands_below_with_what_came_of_it(environment, ledger, released):
    released("1.0.0", outcome="running")
    for actor, name, reason in (("eve", "pause", "lunch"), ("dan", "promote", "")):
        ledger.ask("r1", name, actor=actor, reason=reason)
    ledger.answer(ledger.requests()[1].number, "stage 2 of 4 is paused", followed=True)
    records = read_history(environment, 20)
    assert history_lines(records, "local", PIPE)[2:] == [
        "  r1: eve asked to pause just now (lunch): stage 2 of 4 is paused",
        "  r1: dan asked to promote just now: not answered",
    ]
    ledger.finish("r1", ReleaseOutcome.FAILED)
    records = read_history(environment, 20)
    assert history_lines(records, "local", PIPE)[-1] == (
        "  r1: dan asked to promote just now: not answered: the release ended"
    )
    asked = [(each["command"], each["answer"], each["never_answered"]) for each in records[0]["requests"]]
    assert asked == [("pause", "stage 2 of 4 is paused", False), ("promote", "", True)]


def test_an_unfinished_release_whose_lease_ended_says_so(environment, released):
    released("1.0.0", outcome="running")
    environment.edge.lease = lambda: Lease(ends_at=1_800_000_000.0, seconds=60, ended_at=1_800_000_000.0)
    assert history_lines(read_history(environment, 20), "local", PIPE)[2:] == [
        "  r1: its lease ended at 2027-01-15 08:00 UTC, and the version before got all of",
        "      the traffic back",
    ]
    environment.edge.lease = lambda: Lease(ends_at=1_800_000_000.0, seconds=60, ended_at=None)
    assert [each["reason"] for each in read_history(environment, 20)] == [""]


def test_a_history_is_read_without_an_edge(environment, released):
    def unreachable():
        raise DeploykitError("nobody answers")

    released("1.0.0", outcome="running")
    environment.edge.lease = unreachable
    assert [each["reason"] for each in read_history(environment, 20)] == [""]


def test_who_switched_maintenance_and_for_how_long_stands_below(environment, ledger, released):
    released("1.0.0")
    ledger.record_maintenance("ann", enabled=True)
    ledger.record_maintenance("dan", enabled=False, seconds=725.0)
    lines = history_lines(read_history(environment, 20), "local", PIPE, ledger.maintenance())
    assert lines[2:4] == ["  maintenance on by ann just now", "  maintenance off by dan just now, after 12 min"]


def test_a_history_without_releases_says_how_to_make_one():
    assert history_lines([], "staging", PIPE) == ["no releases in staging yet", "  next: invoke release --env staging"]


def test_where_nothing_is_live_no_star_is_explained():
    assert "* has the traffic" not in history_lines([record(live=False)], "local", PIPE)


def test_a_check_says_what_holds_and_what_does_not():
    good = Checked(entries=12, head="a" * 64, problems=(), environment="local")
    assert (good.exit_code, good.as_json()["outcome"]) == (0, "done")
    assert "12 entries" in good.lines(PIPE)[0]
    bad = Checked(entries=12, head="a" * 64, problems=("entry 3: " + "was changed " * 9,), environment="local")
    assert (bad.exit_code, bad.as_json()["outcome"]) == (1, "failed")
    lines = bad.lines(PIPE)
    assert lines[0] == "the ledger does not hold (12 entries):"
    assert lines[-1] == "  next: invoke status --env local"
    assert max(map(len, lines)) <= 80


def test_a_chain_that_does_not_hold_has_two_ways_out():
    lines = Checked(entries=1, head="a", problems=("x",), environment="local", holds=False).lines(PIPE)
    assert "invoke ledger.accept --env local" in lines[-2]
    assert "invoke ledger.adopt --env local --replace" in lines[-1]


def test_what_the_ledger_has_from_labels_alone_is_called_not_proven():
    lines = history_lines([record(proven=False), record(release="r2", live=False)], "local", PIPE)
    assert "done, not proven" in lines[1]
    assert "not proven" not in lines[2]
    assert lines[-1].startswith("not proven: taken from what ran (invoke ledger.adopt)")
    checked = Checked(entries=3, head="a" * 64, problems=(), environment="local", not_proven="r1")
    assert (checked.exit_code, checked.as_json()["outcome"], checked.as_json()["not_proven"]) == (
        2,
        "inconclusive",
        "r1",
    )
    assert checked.lines(PIPE)[0].startswith("not proven: r1, which is live")
    assert status(proven=False)[1].endswith("; not proven")


def test_a_plan_is_numbered_and_says_what_stands_in_its_way():
    planned = Planned(
        title="a release of shop to local would",
        facts={"version": "2.0.0", "command": "serve " + "--option " * 10},
        steps=tuple(f"do the thing number {number}" for number in range(11)),
        actions=(),
        problem="the tree is dirty",
        problem_details=("a.py", "  -> git commit"),
        next_step="git commit",
        exit_code=3,
    )
    lines = planned.lines(PIPE)
    assert max(map(len, lines)) <= 80
    assert lines[1] == "  version    2.0.0"
    assert "  11. do the thing number 10" in lines
    assert lines[-6:] == [
        "",
        "  but: the tree is dirty",
        "       a.py",
        "         -> git commit",
        "",
        "  nothing was changed; next: git commit",
    ]
    assert planned.as_json()["exit_code"] == 3


def test_a_rehearsal_is_the_strategy_itself():
    names = [action.name for action in rehearse(plan_of(["r2-web-0"], ["r1-web-0"]))]
    assert names[:3] == ["start", "health", "smoke"]
    assert names[-1] == "warm"


def test_the_plan_of_a_canary_says_what_becomes_of_its_users():
    steps = (CanaryStep(share=25, bake=60, confirm=True), CanaryStep(share=100))
    plan = plan_of(["r2-web-0"], ["r1-web-0"], Strategy(name="canary", steps=steps, sticky=True))
    said = sentences(rehearse(plan))
    assert said[6:11] == [
        "from then on give r1-web-0 the traffic back if this release does not answer for 60 s",
        "share the traffic by these weights: r2-web-0 33",
        "share the traffic by these weights: r1-web-0 99",
        "send testers, and users who are kept on one version, to their version",
        "judge it at 25 % of the traffic for 60 s, then wait for: invoke rollout.continue",
    ]
    assert "send everybody by the weights alone" in said[-4:]


@pytest.mark.parametrize(("code", "outcome"), [(0, "passed"), (1, "failed"), (2, "inconclusive")])
def test_a_verification_says_what_to_do_when_it_did_not_pass(code, outcome):
    verified = Verified(
        environment="local",
        version="2.0.0",
        checks=(("edge", True, "http://127.0.0.1:1"), ("requests", code == 0, "too few " * 12)),
        judgement={},
        exit_code=code,
    )
    lines = verified.lines(PIPE)
    assert verified.as_json()["outcome"] == outcome
    assert lines[1] == "  passed  edge  http://127.0.0.1:1"
    assert ("  next: invoke rollback --env local" in lines) == bool(code)
    assert max(map(len, lines)) <= 80
