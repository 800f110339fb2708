"""A version is judged while it has traffic: what ends a stage, and in which way. The clock only goes on in sleeps."""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
import statistics
from typing import TYPE_CHECKING, Any

import pytest

from deploykit.model import DeploykitError, InconclusiveError
from deploykit.model.errors import Cancelled
from deploykit.process.cancellation import Cancellation
from deploykit.release.execution.verification import Verification, judge_live
from deploykit.release.version.spec import SmokeSpec, ThresholdSpec
from deploykit.rollout import Strategy
from deploykit.rollout.judge import Decision
from tests.shared.attackers import listening
from tests.shared.watched_traffic import Answered, Clock, WatchedEdge, every, traffic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.shared.attackers import Listener

BLUE_GREEN = {"stage": 1, "stages": 1, "share": 100, "bake": 10, "enough": 200, "confirm": False}
START = 1000.0


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture
def app() -> Iterator[Listener]:
    with listening() as app:
        yield app


@pytest.fixture
def edge(clock: Clock, app: Listener) -> WatchedEdge:
    return WatchedEdge(clock, at=app.url)


@pytest.fixture
def verification(clock: Clock, edge: WatchedEdge, spec: Any) -> Verification:
    return Verification(
        edge=edge,
        release="r2",
        spec=dataclasses.replace(spec, smoke=()),
        strategy=Strategy(undecided="abort"),
        unhealthy=lambda: "",
        logs=lambda: ["its last log lines:", "  Traceback"],
        clock=clock,
        sleep=clock.sleep,
    )


def watch(verification: Verification, judged: Any = None, **stage: Any) -> Any:
    return verification.watch({**BLUE_GREEN, **stage}, verification.edge.mark(), judged)


def fails_every(app: Listener, nth: int, *, first: int | None = None) -> None:
    """Each nth request to the app fails, from `first` on."""

    def answer(_heard: object) -> Any:
        number = len(app.heard)
        bad = number % nth == (first if first is not None else 0) % nth
        return (500 if bad else 200), {}, b"Traceback: out of sparrows" if bad else b"{}"

    app.answer = answer


# Without users ----------------------------------------------------------------------------------------------------------


def test_a_release_without_users_is_judged_on_fifty_probes_at_once(verification, app, clock):
    found = watch(verification, bake=0)
    assert found["note"].startswith("promoted: 50 requests (50 probes), 0 failed, p95 ")
    assert len(app.heard) == 50
    assert clock.now == START, "nobody waits for users that there are not"
    assert found["verdict"]["decision"] == "promote"
    assert json.loads(json.dumps(found)) == found


def test_a_few_users_are_made_up_for_and_it_is_said(verification, app, edge):
    said: list[str] = []
    verification.tell = said.append
    edge.users(traffic("r2", begins=START, seconds=6, a_second=2))
    found = watch(verification)
    assert found["note"].startswith("promoted: 50 requests (38 probes), 0 failed")
    assert len(app.heard) == 38
    assert said == ["12 user requests. Judged on 38 probe requests as well."]


def test_a_version_of_which_all_probes_fail_is_aborted_at_once(verification, app, clock):
    fails_every(app, 1)
    with pytest.raises(DeploykitError, match=r"^the new version was aborted: (\d+) of \1 requests failed") as failed:
        watch(verification, bake=0)
    assert failed.value.exit_code == 1
    assert len(app.heard) <= 70
    assert clock.now - START < 1
    assert "GET /health: status 500, wanted 200; body: Traceback: out of sparrows" in failed.value.details
    assert failed.value.details[-1] == "  Traceback"


def test_a_path_that_never_gives_what_is_wanted_aborts_however_many_paths_are_fine(verification, app):
    paths = tuple(SmokeSpec(path=f"/{number}") for number in range(40))
    verification.spec = dataclasses.replace(verification.spec, smoke=paths)
    app.answer = lambda heard: (302 if heard.path == "/7" else 200, {}, b"")
    with pytest.raises(DeploykitError, match=r"GET /7 failed each time that it was probed") as failed:
        watch(verification, bake=0)
    assert type(failed.value) is DeploykitError
    assert len(app.heard) <= 200


def test_one_probe_in_ten_that_fails_aborts(verification, app):
    fails_every(app, 10)
    with pytest.raises(DeploykitError, match="the new version was aborted") as failed:
        watch(verification, bake=0)
    assert type(failed.value) is DeploykitError
    assert len(app.heard) <= 250


def test_a_limit_of_the_p95_that_nobody_can_keep_aborts_and_is_not_inconclusive(verification, app):
    thresholds = dataclasses.replace(verification.spec.thresholds, p95_ms=0.001)
    verification.spec = dataclasses.replace(verification.spec, thresholds=thresholds)
    with pytest.raises(DeploykitError, match=r"requests took longer than 0\.001 ms") as failed:
        watch(verification, bake=0)
    assert failed.value.exit_code == 1
    assert len(app.heard) <= 150


def test_one_failed_probe_is_followed_by_as_many_as_decide(verification, app):
    fails_every(app, 1000, first=20)
    found = watch(verification, bake=0)
    assert found["verdict"]["decision"] == "promote"
    assert 100 <= len(app.heard) <= 120
    assert found["causes"] == ["GET /health: status 500, wanted 200; body: Traceback: out of sparrows"]


def test_probes_that_never_decide_are_bounded_and_the_release_is_inconclusive(verification, app, clock):
    fails_every(app, 45)
    with pytest.raises(InconclusiveError, match=r"given up, undecided: \d+ of 500 requests failed .* more requests"):
        watch(verification, bake=0)
    assert len(app.heard) == 500
    assert clock.now - START < 30


def test_probes_that_are_answered_slowly_end_with_the_round(verification, app, clock):
    """The clock goes on with each request: 12 seconds for ten of them."""

    def answer(_heard: object) -> Any:
        clock.now += 1.2
        return 200, {}, b""

    app.answer = answer
    with pytest.raises(InconclusiveError, match=r"undecided: \d+ of 50 wanted requests seen"):
        watch(verification, bake=0)
    assert len(app.heard) < 50


def test_a_version_that_nobody_can_ask_is_never_passed(verification, edge):
    edge.at = "http://127.0.0.1:1"
    with pytest.raises(DeploykitError, match="aborted"):
        watch(verification, bake=0)


def test_probes_do_not_make_up_for_what_fails_for_users(verification, edge, app):
    """One of ten users got an error, and the health path is fine."""
    edge.users(traffic("r2", begins=START, seconds=5, a_second=2, fails=every(10)))
    with pytest.raises(InconclusiveError, match=r"of users' own, 1 of 10 requests \(10 %\) failed"):
        watch(verification)
    assert len(app.heard) <= 500


# With users -------------------------------------------------------------------------------------------------------------


def test_users_are_watched_for_the_whole_bake_time_and_need_no_probes(verification, edge, app, clock):
    edge.users(traffic("r2", begins=START, seconds=60, a_second=10))
    found = watch(verification)
    assert clock.now == pytest.approx(START + 10.5)
    assert found["note"] == "promoted: 105 requests, 0 failed, p95 20 ms"
    assert not app.heard


def test_enough_requests_of_users_end_it_early(verification, edge, clock):
    edge.users(traffic("r2", begins=START, seconds=60, a_second=80))
    watch(verification)
    assert clock.now - START < 5
    began = clock.now
    watch(verification, stage=2, enough=0)
    assert clock.now - began > 10


def test_errors_that_users_get_abort_in_the_middle_of_the_bake_time(verification, edge, clock, app):
    edge.users(traffic("r2", begins=START, seconds=600, a_second=20, fails=every(10)))
    with pytest.raises(DeploykitError, match=r"^the new version was aborted: \d+ of \d+ requests failed \(") as failed:
        watch(verification, bake=600, enough=0)
    assert clock.now - START < 15
    assert failed.value.details == (
        "the version is to blame as far as can be known: no other version had requests to compare with",
        "its last log lines:",
        "  Traceback",
    )
    assert failed.value.next_step == "fix it, then run: invoke release --env local"
    assert not app.heard


def test_a_version_that_answers_nothing_but_errors_is_aborted_at_the_first_look_after_its_start(
    verification, edge, clock
):
    edge.users(traffic("r2", begins=START, seconds=60, a_second=200, fails=every(1)))
    with pytest.raises(DeploykitError, match=r"\(100 %\)"):
        watch(verification)
    assert clock.now == START + 1


def test_errors_that_come_sooner_than_the_good_answers_of_the_same_moment_wait_for_those(verification, edge):
    """One of a hundred fails within a millisecond, and the others take half a second, which is allowed."""
    bad = traffic("r2", begins=START, seconds=60, a_second=1, fails=every(1), ms=1)
    edge.users([*bad, *traffic("r2", begins=START, seconds=60, a_second=199, ms=450)])
    assert watch(verification, enough=0)["verdict"]["decision"] == "promote"


def test_a_few_errors_of_many_users_are_watched_a_little_longer(verification, edge, clock, app):
    """60 in the watch, of which one fails: 40 more decide."""
    answers = traffic("r2", begins=START, seconds=60, a_second=6, fails=lambda number: number == 3)
    edge.users(answers)
    found = watch(verification)
    assert found["verdict"]["decision"] == "promote"
    assert START + 15 < clock.now < START + 25
    assert not app.heard


def test_users_who_stay_away_after_an_error_leave_it_inconclusive_and_no_probe_helps(verification, edge, clock, app):
    edge.users(traffic("r2", begins=START, seconds=10, a_second=6, fails=lambda number: number == 3))
    with pytest.raises(InconclusiveError, match="1 of 60 requests failed"):
        watch(verification)
    assert clock.now - START < 50
    assert not app.heard


def test_requests_in_flight_at_the_end_count(verification, edge):
    edge.users(traffic("r2", begins=START, seconds=9, a_second=20))
    edge.users(Answered(release="r2", began=START + 9.5, ms=900, error=True, database_error=True) for _ in range(3))
    with pytest.raises(DeploykitError, match="3 requests failed in the database"):
        watch(verification, enough=0)


def test_an_error_of_the_database_aborts(verification, edge, clock):
    edge.users(traffic("r2", begins=START, seconds=60, a_second=10))
    edge.users([Answered(release="r2", began=START + 3, error=True, database_error=True)])
    with pytest.raises(DeploykitError, match="1 request failed in the database"):
        watch(verification)
    assert clock.now - START < 8


def test_an_instance_that_ends_by_itself_aborts_in_that_second(verification, edge, clock):
    edge.users(traffic("r2", begins=START, seconds=60, a_second=10))
    verification.unhealthy = lambda: "r2-web-0 ended by itself while it was judged" if clock.now > START + 4 else ""
    with pytest.raises(DeploykitError, match="the new version was aborted: r2-web-0 ended by itself"):
        watch(verification, bake=600)
    assert clock.now - START < 6


def test_the_edge_may_be_on_a_machine_whose_clock_is_an_hour_ahead(verification, edge, clock):
    edge.ahead = 3600
    edge.users(traffic("r2", begins=START + 3600, seconds=600, a_second=20, fails=every(5)))
    with pytest.raises(DeploykitError, match="aborted"):
        watch(verification, bake=600)
    assert clock.now - START < 15


# Beside the stable version ----------------------------------------------------------------------------------------------

CANARY = {"stages": 4, "share": 25, "bake": 60, "enough": 0}


def test_a_shared_incident_rolls_back_and_names_the_version_as_not_to_blame(verification, edge):
    edge.users(traffic("r1", begins=START, seconds=60, a_second=30, fails=every(8)))
    edge.users(traffic("r2", begins=START, seconds=60, a_second=10, fails=every(8)))
    with pytest.raises(DeploykitError, match=r"aborted in stage 1 of 4: .* the version is not to blame") as failed:
        watch(verification, **CANARY)
    assert not any("to blame" in detail for detail in failed.value.details)


def test_a_version_that_fails_beside_a_good_one_is_to_blame(verification, edge):
    edge.users(traffic("r1", begins=START, seconds=60, a_second=30))
    edge.users(traffic("r2", begins=START, seconds=60, a_second=10, fails=every(8)))
    with pytest.raises(DeploykitError) as failed:
        watch(verification, **CANARY)
    assert failed.value.details[0].startswith("the version is to blame: at the same time the stable version had ")


def test_every_other_release_is_the_stable_version_and_what_no_server_answered_is_of_none(verification, edge):
    edge.users(traffic("r2", begins=START, seconds=70, a_second=5))
    for release in ("r1", "r0"):
        edge.users(traffic(release, begins=START, seconds=70, a_second=5))
    edge.users(traffic("", begins=START, seconds=70, a_second=5, fails=every(1)))
    figures = watch(verification, **CANARY)["verdict"]["figures"]
    assert figures["stable"]["requests"] == pytest.approx(2 * figures["candidate"]["requests"], abs=4)
    assert figures["stable"]["errors"] == 0


def test_requests_between_two_stages_belong_to_the_next_and_are_not_enough_for_it(verification, edge, clock):
    edge.users(traffic("r2", begins=START, seconds=10, a_second=30))
    first = watch(verification, stages=2, share=50, bake=5, enough=0)
    counted = first["verdict"]["figures"]["candidate"]["requests"]
    clock.now = START + 100
    edge.users(traffic("r2", begins=START + 100, seconds=20, a_second=10))
    began = clock.now
    second = watch(verification, first["judged"], stage=2, stages=2, bake=10, enough=100)
    assert counted + second["verdict"]["figures"]["candidate"]["requests"] > 300
    assert clock.now - began > 9, "those 150 were answered before the stage began"
    began = clock.now
    edge.users(traffic("r2", begins=began, seconds=20, a_second=50))
    watch(verification, second["judged"], stage=3, stages=3, bake=10, enough=100)
    assert clock.now - began < 6, "these came while it was judged"


def test_the_evidence_of_a_stage_goes_on_in_the_next(verification, edge, clock):
    edge.users(traffic("r2", begins=START, seconds=5, a_second=30))
    judged = json.loads(json.dumps(watch(verification, stages=2, bake=5, enough=0)["judged"]))
    observations = judged["state"]["tallies"]["errors"]["evidence"]["observations"]
    assert observations > 20
    edge.users(traffic("r2", begins=clock.now, seconds=5, a_second=30))
    again = watch(verification, judged, stage=2, stages=2, bake=5, enough=0)["judged"]
    assert again["state"]["tallies"]["errors"]["evidence"]["observations"] > observations
    assert again["state"]["candidate"]["requests"] == 0


STEPS = ((5, 1, 60), (25, 5, 60), (50, 10, 60), (100, 20, 10))
"""A canary's shares, requests a second that it gets, and bake times."""


def canary(verification: Verification, edge: WatchedEdge, fails_at: int) -> list[Any]:
    """A whole canary at 20 requests a second; from the stage `fails_at` on one of ten fails."""
    clock, judged, found = verification.clock, None, []
    for number, (share, a_second, bake) in enumerate(STEPS, 1):
        fails = every(10) if number >= fails_at else every(10_000)
        edge.users(traffic("r2", begins=clock(), seconds=bake + 5, a_second=a_second, fails=fails))
        if share < 100:
            edge.users(traffic("r1", begins=clock(), seconds=bake + 5, a_second=20 - a_second))
        stage = {"stage": number, "stages": 4, "share": share, "bake": bake, "enough": 0, "confirm": False}
        found.append(verification.watch(stage, edge.mark(), judged))
        judged = found[-1]["judged"]
        clock.now += 5
    return found


def test_a_good_canary_goes_through_all_its_stages(verification, edge, clock, app):
    verification.strategy = Strategy(name="canary")
    found = canary(verification, edge, fails_at=9)
    assert [each["verdict"]["decision"] for each in found] == ["promote"] * 4
    assert found[1]["note"].startswith("25 % promoted: ")
    assert clock.now - START == pytest.approx(190 + 4 * 5.5, abs=2)
    assert not app.heard


@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_a_canary_with_ten_percent_errors_is_aborted_in_the_stage_in_which_they_begin(verification, edge, clock, stage):
    verification.strategy = Strategy(name="canary")
    with pytest.raises(DeploykitError, match=f"aborted in stage {stage} of 4: ") as failed:
        canary(verification, edge, fails_at=stage)
    assert type(failed.value) is DeploykitError
    before = sum(bake + 5.5 for *_, bake in STEPS[: stage - 1])
    requests = (clock.now - START - before) * STEPS[stage - 1][1]
    assert requests < 200, "of users, until it was aborted"


def random_canary(verification: Verification, edge: WatchedEdge, seed: int, rate: float) -> tuple[str, int]:
    """In bursts of 1 to 8 requests, of which the new version has its share: how it ended, after how many of its own."""
    rng, clock, judged = random.Random(seed), verification.clock, None
    for number, (share, _, bake) in enumerate(STEPS, 1):
        began = clock.now
        while began < clock.now + bake + 5:
            began += rng.expovariate(10.0)
            for _ in range(rng.choice((1, 2, 4, 8))):
                mine = rng.random() * 100 < share
                error = rng.random() < (rate if mine else 0.002)
                ms = rng.lognormvariate(3.5, 0.5)
                edge.seen.append(Answered(release="r2" if mine else "r1", began=began, ms=ms, error=error))
        edge.users(())
        stage = {"stage": number, "stages": 4, "share": share, "bake": bake, "enough": 0, "confirm": False}
        try:
            judged = verification.watch(stage, edge.mark(), judged)["judged"]
        except DeploykitError as error:
            own = [answer for answer in edge.seen if answer.release == "r2" and answer.ended <= clock.now]
            return ("undecided" if isinstance(error, InconclusiveError) else "aborted"), len(own)
        clock.now += 1
    return "promoted", 0


def test_simulated_canaries_with_ten_percent_errors_are_aborted_and_good_ones_are_not(verification, clock, app):
    def run(seed: int, rate: float) -> tuple[str, int]:
        clock.now = START
        edge = WatchedEdge(clock, at=app.url)
        mine = dataclasses.replace(verification, edge=edge, _stage=None, _renewed=None)
        return random_canary(mine, edge, seed, rate)

    bad = [run(seed, 0.1) for seed in range(12)]
    assert {how for how, _ in bad} == {"aborted"}
    assert statistics.median(own for _, own in bad) < 120
    assert [run(seed, 0.002)[0] for seed in range(6)].count("promoted") >= 5


# Rounds ---------------------------------------------------------------------------------------------------------------


def test_what_is_live_is_judged_at_once_with_the_same_judge(edge, clock, verification, app):
    def look() -> Any:
        return judge_live(edge, "r2", verification.spec, since=edge.mark(), clock=clock, sleep=clock.sleep)

    assert look()[0].decision is Decision.PROMOTE
    assert len(app.heard) == 50
    fails_every(app, 2)
    verdict, causes = look()
    assert verdict.decision is Decision.ABORT
    assert causes
    mark = edge.mark()
    edge.users(traffic("r2", begins=START - 30, seconds=30, a_second=10))
    app.heard.clear()
    verdict, _ = judge_live(edge, "r2", verification.spec, since=mark, clock=clock, sleep=clock.sleep)
    assert verdict.decision is Decision.PROMOTE
    assert not app.heard


def test_a_cancellation_is_raised_from_the_watch(verification, clock):
    cancellation = Cancellation()
    verification.cancellation = cancellation
    sleep = clock.sleep

    def until_ctrl_c(seconds: float) -> None:
        sleep(seconds)
        if clock.now > START + 5:
            cancellation.cancel("Ctrl-C")

    verification.sleep = until_ctrl_c
    with pytest.raises(Cancelled):
        watch(verification, bake=600)
    assert clock.now - START < 8


def test_the_lease_is_renewed_every_few_seconds_and_its_end_ends_the_watch(verification, clock):
    class LeaseEnded(DeploykitError):
        pass

    renewed: list[float] = []

    def renew() -> None:
        renewed.append(clock.now - START)
        if clock.now > START + 30:
            raise LeaseEnded("the lease has ended")

    verification.renew = renew
    with pytest.raises(LeaseEnded):
        watch(verification, bake=600)
    pauses = [later - earlier for earlier, later in itertools.pairwise(renewed)]
    assert renewed[0] == 0
    assert max(pauses) <= 4
    assert len(renewed) <= 12


def test_limits_are_those_of_the_settings(verification, app):
    thresholds = ThresholdSpec(error_rate=0.9, p95_ms=5000, requests=7)
    verification.spec = dataclasses.replace(verification.spec, thresholds=thresholds)
    fails_every(app, 4)
    assert watch(verification, bake=0)["verdict"]["decision"] == "promote"
    assert len(app.heard) == 7
