"""Stages that nobody's evidence decides: further rounds, and what people ask from other terminals."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from deploykit.edge.interface import Mark
from deploykit.model import DeploykitError, InconclusiveError
from deploykit.release.execution.ledger_commands import Command
from deploykit.release.execution.verification import Verification
from deploykit.rollout import Strategy, UndecidedError
from tests.shared.attackers import listening
from tests.shared.watched_traffic import Clock, Terminal, WatchedEdge, every, traffic

if TYPE_CHECKING:
    from deploykit.release.reporting.live_view import LiveView

START = 1000.0
STAGE = {"stage": 2, "stages": 4, "share": 25, "bake": 60, "enough": 0, "confirm": False}


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture
def edge(clock: Clock) -> WatchedEdge:
    return WatchedEdge(clock)


@pytest.fixture
def terminal(clock: Clock) -> Terminal:
    return Terminal(clock)


@pytest.fixture
def views() -> list[LiveView]:
    return []


@pytest.fixture
def verification(clock: Clock, edge: WatchedEdge, terminal: Terminal, views: list[LiveView], spec: Any) -> Verification:
    return Verification(
        edge=edge,
        release="r2",
        spec=dataclasses.replace(spec, environment="production"),
        strategy=Strategy(name="canary", patience=600),
        unhealthy=lambda: "",
        commands=terminal,
        view=views.append,
        clock=clock,
        sleep=clock.sleep,
    )


def watch(verification: Verification, **stage: Any) -> Any:
    return verification.watch({**STAGE, **stage}, verification.edge.mark(), None)


def command(name: Any, actor: str = "ana", number: int = 1) -> Command:
    return Command(name=name, actor=actor, number=number)


@pytest.fixture
def good(edge: WatchedEdge) -> None:
    edge.users(traffic("r2", begins=START, seconds=3000, a_second=5))


@pytest.fixture
def doubtful(edge: WatchedEdge) -> None:
    """One of 60 fails, and then nobody comes for long."""
    edge.users(traffic("r2", begins=START, seconds=60, a_second=1, fails=lambda number: number == 3))


# Rounds ---------------------------------------------------------------------------------------------------------------


def test_an_undecided_round_is_followed_by_another_that_goes_on_from_there(verification, edge, clock, doubtful):
    with pytest.raises(UndecidedError, match=r"stage 2 of 4 is undecided: 1 of 60 .* it is watched further") as asked:
        watch(verification)
    assert "for 8 min at most" in asked.value.message
    edge.users(traffic("r2", begins=clock.now, seconds=60, a_second=2))
    found = watch(verification)
    assert found["verdict"]["decision"] == "promote"
    assert found["verdict"]["figures"]["candidate"]["requests"] >= 100


def test_rounds_without_bake_time_are_no_busy_loop_and_patience_ends(verification, edge, clock):
    """One of ten users got an error, no other comes, and probes can't make up for it."""
    thresholds = dataclasses.replace(verification.spec.thresholds, requests=11)
    verification.spec = dataclasses.replace(verification.spec, thresholds=thresholds, smoke=())
    edge.users(traffic("r2", begins=START - 10, seconds=10, a_second=1, fails=every(10)))
    rounds = 0
    with (
        listening() as app,
        pytest.raises(InconclusiveError, match=r"in stage 2 of 4 after 1\d min, undecided: .*1 of 10"),
    ):
        edge.at = app.url
        while rounds < 100:
            with pytest.raises(UndecidedError):
                verification.watch({**STAGE, "bake": 0}, Mark({"read": 0}), None)
            rounds += 1
    assert 600 <= clock.now - START < 700
    assert 5 < rounds <= 12


def test_who_is_to_be_asked_is_told_what_to_type(verification, views, doubtful):
    verification.strategy = dataclasses.replace(verification.strategy, undecided="ask")
    with pytest.raises(UndecidedError) as asked:
        watch(verification)
    typed = "a person decides: invoke rollout.promote --env production, or rollout.abort --env production"
    assert typed in asked.value.message
    with pytest.raises(UndecidedError):
        watch(verification)
    assert views[-1].waits_for == typed


def test_where_nothing_waits_the_end_of_the_round_is_the_end(verification, clock, doubtful):
    verification.strategy = dataclasses.replace(verification.strategy, undecided="abort")
    with pytest.raises(InconclusiveError, match=r"given up in stage 2 of 4, undecided: 1 of 60"):
        watch(verification)
    assert clock.now - START < 100


# Confirmation, pause ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["continue", "promote"])
def test_a_stage_to_be_confirmed_waits_for_a_person(verification, clock, terminal, views, good, name):
    terminal.ask(command(name), after=200)
    found = watch(verification, confirm=True)
    assert 200 <= clock.now - START < 203
    assert found["decided_by"] == "ana"
    assert found["commands"][0]["actor"] == "ana"
    assert any(view.waits_for == "waits for a person: invoke rollout.continue --env production" for view in views)


def test_nobody_confirms_and_patience_ends(verification, clock, good):
    with pytest.raises(InconclusiveError, match="nobody has confirmed it within 10 min"):
        watch(verification, confirm=True)
    assert clock.now - START < 665


def test_what_waits_for_a_confirmation_is_still_judged(verification, edge, clock):
    edge.users(traffic("r2", begins=START, seconds=100, a_second=5))
    edge.users(traffic("r2", begins=START + 100, seconds=100, a_second=5, fails=every(3)))
    with pytest.raises(DeploykitError, match="aborted in stage 2 of 4"):
        watch(verification, confirm=True)
    assert clock.now - START < 130


def test_a_paused_stage_is_not_promoted_until_it_goes_on(verification, clock, terminal, views, good):
    terminal.ask(command("pause"), after=10)
    terminal.ask(command("continue", "ben", 2), after=300)
    found = watch(verification)
    assert 300 <= clock.now - START < 303
    assert terminal.answers == ["stage 2 of 4 is paused: it is watched, and not promoted", "stage 2 of 4 goes on"]
    assert [(each["name"], each["actor"]) for each in found["commands"]] == [("pause", "ana"), ("continue", "ben")]
    assert found["decided_by"] == ""
    assert any(view.waits_for.startswith("paused by ana, until: invoke rollout.continue") for view in views)


def test_evidence_aborts_a_paused_stage(verification, edge, clock, terminal):
    edge.users(traffic("r2", begins=START, seconds=300, a_second=5, fails=every(5)))
    terminal.ask(command("pause"))
    with pytest.raises(DeploykitError, match="aborted in stage 2 of 4"):
        watch(verification)
    assert clock.now - START < 30


def test_a_pause_that_nobody_ends_does_not_hold_the_canary_for_ever(verification, clock, terminal, good):
    terminal.ask(command("pause"))
    with pytest.raises(InconclusiveError, match="nobody has continued it within 10 min"):
        watch(verification)
    assert clock.now - START < 665


def test_a_continued_stage_that_needs_a_confirmation_says_so(verification, terminal, good):
    terminal.ask(command("pause"), after=100)
    terminal.ask(command("continue", number=2), after=110)
    terminal.ask(command("continue", number=3), after=120)
    found = watch(verification, confirm=True)
    assert terminal.answers[1] == "stage 2 of 4 goes on; it still waits for a confirmation, by another continue"
    assert terminal.answers[2] == "stage 2 of 4 is confirmed"
    assert found["note"].endswith("confirmed by ana")


# Promote, abort -------------------------------------------------------------------------------------------------------


def test_a_person_promotes_over_missing_evidence_and_it_is_on_the_record(verification, clock, terminal):
    terminal.ask(command("promote"), after=5)
    found = watch(verification)
    assert clock.now - START < 8
    assert terminal.answers == ["stage 2 of 4 is promoted"]
    assert found["decided_by"] == "ana"
    assert found["note"] == (
        "25 % promoted by ana, where the judge said undecided: no requests yet, 50 are wanted; "
        "about 50 more requests decide"
    )
    assert found["commands"] == [
        {"name": "promote", "actor": "ana", "number": 1, "answer": "stage 2 of 4 is promoted"},
    ]


def test_nobody_promotes_what_the_judge_aborts(verification, edge, terminal):
    edge.users(traffic("r2", begins=START - 10, seconds=10, a_second=30, fails=every(2)))
    terminal.ask(command("promote"))
    with pytest.raises(DeploykitError, match="the new version was aborted"):
        verification.watch(STAGE, Mark({"read": 0}), None)
    assert terminal.answers[0].startswith("changes nothing: the judge has aborted stage 2 of 4: ")


def test_a_person_aborts(verification, clock, terminal, good):
    terminal.ask(command("abort", "ana\n  Zoe"), after=20)
    with pytest.raises(DeploykitError, match=r"^the new version was aborted by ana Zoe in stage 2 of 4: undecided: "):
        watch(verification)
    assert clock.now - START < 23
    assert terminal.answers == ["stage 2 of 4 is aborted: the version before gets the traffic back"]


def test_an_abort_counts_before_a_promotion_of_the_same_second(verification, terminal, good):
    terminal.ask(command("promote"))
    terminal.ask(command("abort", "ben", 2))
    with pytest.raises(DeploykitError, match="aborted by ben"):
        watch(verification)
    assert terminal.answers == [
        "stage 2 of 4 is aborted: the version before gets the traffic back",
        "changes nothing: ben has aborted stage 2 of 4",
    ]


@pytest.mark.parametrize("name", ["abort", "promote"])
def test_nobody_waits_for_the_last_probe(verification, edge, terminal, name):
    """One of 45 fails, which takes hundreds of them to be sure of."""
    with listening() as app:
        edge.at = app.url
        app.answer = lambda _heard: (500 if len(app.heard) % 45 == 0 else 200, {}, b"")
        terminal.ask(command(name), after=61)
        if name == "abort":
            with pytest.raises(DeploykitError, match="aborted by ana in stage 2 of 4"):
                watch(verification)
        else:
            assert watch(verification)["decided_by"] == "ana"
        assert 50 < len(app.heard) < 250


def test_commands_that_make_no_sense_are_answered_and_change_nothing(verification, clock, terminal, good):
    for number, name in enumerate(["continue", "pause", "pause", "sing", "continue", "continue"]):
        terminal.ask(command(name, number=number), after=number + 1)
    found = watch(verification)
    assert clock.now - START < 62
    assert [answer.split(":")[0] for answer in terminal.answers] == [
        "changes nothing",
        "stage 2 of 4 is paused",
        "changes nothing",
        "changes nothing",
        "stage 2 of 4 goes on",
        "changes nothing",
    ]
    assert terminal.answers[0] == "changes nothing: stage 2 of 4 is not paused, and waits for no confirmation"
    assert [each["answer"] for each in found["commands"]] == terminal.answers


# What is shown --------------------------------------------------------------------------------------------------------


def test_the_view_says_each_second_what_is_known(verification, edge, views, good):
    edge.users(traffic("r1", begins=START, seconds=70, a_second=15, ms=40))
    watch(verification)
    assert len(views) >= 60
    assert (views[0].stage, views[0].stages, views[0].share, views[0].left) == (2, 4, 25, 60)
    assert views[0].words == "no requests yet, 50 are wanted; about 50 more requests decide"
    view = views[30]
    assert view.left == 30
    assert view.candidate.requests == pytest.approx(140, abs=10)
    assert view.stable.requests == pytest.approx(420, abs=30)
    assert 19 < view.candidate.p50_ms < 21
    assert view.decision == "undecided"
    assert "the bake time is not over" in view.words
