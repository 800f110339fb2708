"""Verdicts in words and figures, for canaries whose traffic is written out."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

import deploykit.rollout.judge
from deploykit.rollout.judge import (
    CanaryVerdict,
    Criterion,
    Decision,
    Limits,
    Requests,
    Slot,
    State,
    begin,
    fold,
    judge,
    sentences,
)


def requests(number: int, errors: int = 0, *, ms: float = 30.0, database_errors: int = 0) -> Requests:
    return Requests(latencies_ms=(ms,) * number, errors=errors, database_errors=database_errors)


def alone(number: int, *, failing: int = 0, ms: float = 30.0, probe: bool = False) -> list[Slot]:
    """Single requests of the candidate, of which the last ones fail."""
    return [
        Slot(candidate=requests(1, errors=index >= number - failing, ms=ms), probe=probe) for index in range(number)
    ]


def beside(number: int, *, every: int = 0, stable_every: int = 0, stable: int = 4) -> list[Slot]:
    """Slots with one request of the candidate and `stable` ones beside it; each `every`th one fails."""
    slots, count = [], 0
    for index in range(1, number + 1):
        failed = sum(bool(stable_every) and (count + one) % stable_every == 0 for one in range(1, stable + 1))
        count += stable
        mine = bool(every) and index % every == 0
        slots.append(Slot(candidate=requests(1, errors=mine), stable=requests(stable, errors=failed)))
    return slots


def look(slots: list[Slot], limits: Limits | None = None, *, baked: bool = True, unhealthy: str = "") -> CanaryVerdict:
    return judge(fold(begin(limits or Limits()), slots), baked=baked, unhealthy=unhealthy)


def first_abort(slots: list[Slot], limits: Limits | None = None) -> tuple[CanaryVerdict, State]:
    state = begin(limits or Limits())
    for slot in slots:
        state = state.observe(slot)
        verdict = judge(state, baked=False)
        if verdict.decision is Decision.ABORT:
            return verdict, state
    raise AssertionError(verdict.sentence)


def test_a_version_that_nobody_used_is_undecided():
    verdict = look([])
    assert verdict.decision is Decision.UNDECIDED
    assert verdict.sentence == "undecided: no requests yet, 50 are wanted; about 50 more requests decide"
    assert (verdict.more_requests, verdict.missing) == (50, 50)


def test_too_few_requests_are_undecided_and_say_how_many_decide():
    verdict = look([*alone(6), *alone(4, probe=True)])
    assert verdict.decision is Decision.UNDECIDED
    assert verdict.sentence == (
        "undecided: 10 of 50 wanted requests seen, 4 of them probes, 0 failed; about 40 more requests decide"
    )
    assert (verdict.more_requests, verdict.missing) == (40, 40)


def test_enough_good_requests_are_promoted_when_the_bake_time_is_over():
    early, late = look(beside(60), baked=False), look(beside(60))
    assert early.decision is Decision.UNDECIDED
    assert early.sentence == "undecided: 60 requests seen, 0 failed, no limit is exceeded; the bake time is not over"
    assert (early.more_requests, early.missing) == (None, 0)
    assert late.decision is Decision.PROMOTE
    assert late.sentence == "promoted: 60 requests seen, 0 failed, no limit is exceeded"


def test_a_promotion_says_when_there_was_nothing_to_compare_with():
    assert look(alone(60)).sentence.endswith("the stable version had no requests to compare with")


def test_errors_abort_with_their_figures():
    verdict, _ = first_abort([*alone(44, failing=2), *alone(2, failing=2)])
    assert verdict.blames_version
    assert verdict.sentence == (
        "aborted: 4 of 46 requests failed (8.7 %), where at most 1 % may; "
        "at most 1 of 2,252 versions at the limit ever looks this bad"
    )
    assert verdict.figures["criteria"]["errors"]["stage"]["bad"] == 4


def test_an_abort_by_probes_says_that_they_were_probes():
    """No user saw them fail, and whoever reads the sentence looks for what users saw."""
    verdict, _ = first_abort([*alone(10), *alone(6, failing=6, probe=True)])
    assert "(3 of these requests were probes)" in verdict.sentence
    assert "probes" not in first_abort(alone(6, failing=6))[0].sentence


def test_what_was_aborted_once_stays_so_whatever_comes_after_it():
    _, state = first_abort(beside(60, every=8))
    later = judge(fold(state, beside(5000)), baked=True)
    assert later.decision is Decision.ABORT


def test_after_hours_of_good_requests_the_sentence_is_about_the_last_ones():
    verdict = look([*[Slot(candidate=requests(20))] * 1000, *alone(80, failing=20)])
    assert verdict.sentence.startswith("aborted: 5 of its last 5 requests failed (100 %), where at most 1 % may")


def test_versions_are_compared_at_the_same_time_only():
    """Requests that were alone for long wait for no partner, and none waits beyond its stage."""
    state = fold(begin(Limits()), [*alone(300), *beside(1)])
    assert state.tallies[Criterion.ERRORS_VS_STABLE].stage.requests <= 100
    waiting = fold(begin(Limits()), alone(30)).next_stage()
    assert fold(waiting, beside(1)).tallies[Criterion.ERRORS_VS_STABLE].stage.requests == 1


def test_a_version_that_looks_too_bad_without_proof_is_not_promoted():
    verdict = look(alone(60, failing=1))
    assert verdict.decision is Decision.UNDECIDED
    assert verdict.sentence == (
        "undecided: 1 of 60 requests failed (1.67 %), where at most 1 % may; about 40 more requests decide"
    )
    assert verdict.more_requests == 40
    assert look([*alone(60, failing=1), *alone(39)]).decision is Decision.UNDECIDED
    assert look([*alone(60, failing=1), *alone(40)]).decision is Decision.PROMOTE


def test_a_version_that_looks_worse_than_the_stable_one_is_not_promoted_either():
    slots = [*beside(200, stable=19), *beside(2, every=1, stable=19)]
    verdict = look(slots)
    assert verdict.decision is Decision.UNDECIDED
    assert verdict.sentence == (
        "undecided: 2 of 202 requests failed (0.99 %), and of the stable version's 0 of 3,838 requests; "
        "about 24 more requests decide"
    )


def test_two_errors_in_ten_thousand_requests_keep_no_version_undecided_for_ever():
    """The stable version has none, so the comparison speaks against it, and nothing would ever speak for it."""
    state = fold(begin(Limits()), [*beside(200, stable=19), *beside(2, every=1, stable=19)])
    assert judge(state, baked=True).decision is Decision.UNDECIDED
    state = fold(state, [Slot(candidate=requests(20), stable=requests(380))] * 100)
    assert state.tallies[Criterion.ERRORS_VS_STABLE].evidence.e > 3.2
    assert judge(state, baked=True).decision is Decision.PROMOTE


def test_the_estimate_comes_true_when_it_goes_on_like_this():
    slots = beside(900, every=25)
    state = fold(begin(Limits()), slots[:100])
    verdict = judge(state, baked=False)
    assert verdict.more_requests is not None
    more = 0
    while judge(state, baked=False).decision is not Decision.ABORT:
        state = state.observe(slots[100 + more])
        more += 1
    assert verdict.more_requests / 3 <= more <= verdict.more_requests * 3


def test_an_incident_of_both_versions_rolls_back_and_does_not_blame_the_version():
    verdict, state = first_abort(beside(400, every=12, stable_every=12))
    assert not verdict.blames_version
    assert verdict.sentence.endswith("so it was with the stable version at the same time: the version is not to blame")
    assert not state.tallies[Criterion.ERRORS_VS_STABLE].crossed


def test_a_version_that_is_worse_than_a_bad_stable_version_is_blamed_by_the_comparison():
    limits = Limits(error_rate=0.025, alpha=1e-6, hard_requests=10_000)
    verdict, state = first_abort(beside(1000, every=12, stable_every=33, stable=19), limits)
    assert "where at most 2.5 % may" in verdict.sentence
    assert not state.tallies[Criterion.ERRORS_VS_STABLE].crossed
    assert verdict.blames_version


def test_an_incident_of_the_stable_version_that_is_over_excuses_nothing():
    incident = beside(30, stable_every=3)
    verdict, _ = first_abort([*incident, *beside(3000), *beside(400, every=5)])
    assert verdict.blames_version


def test_a_slow_version_is_aborted_and_a_slow_database_of_both_does_not_blame_it():
    slow = Requests(latencies_ms=(900.0,))
    fast = Requests(latencies_ms=(30.0,) * 4)
    own, _ = first_abort([Slot(candidate=slow, stable=fast)] * 60)
    assert own.blames_version
    assert "took longer than 500 ms (100 %), where at most 5 % may" in own.sentence
    shared, _ = first_abort([Slot(candidate=slow, stable=Requests(latencies_ms=(900.0,) * 4))] * 60)
    assert not shared.blames_version


def test_slower_than_the_stable_version_within_the_limit_is_aborted_by_comparison():
    fast = [Slot(stable=requests(10, ms=20.0))] * 30
    slots = [Slot(candidate=requests(1, ms=80.0), stable=requests(4, ms=20.0))] * 40
    verdict, _ = first_abort([*fast, *slots])
    assert verdict.blames_version
    assert "requests took longer than 41 ms (100 %), and of the stable version's 0 of " in verdict.sentence


def test_a_few_milliseconds_on_a_very_fast_service_are_not_slower():
    fast = [Slot(stable=requests(10, ms=1.0))] * 30
    slots = [Slot(candidate=requests(1, ms=4.0), stable=requests(4, ms=1.0))] * 400
    assert look([*fast, *slots]).decision is Decision.PROMOTE


def test_the_baseline_of_an_earlier_stage_holds_where_the_stable_version_has_no_traffic():
    state = fold(begin(Limits(p95_ms=5000)), [Slot(stable=requests(10, ms=100.0))] * 30).next_stage()
    state = fold(state, alone(199, ms=300.0))
    assert judge(state, baked=True).decision is Decision.PROMOTE
    verdict = judge(fold(state, alone(1, ms=300.0)), baked=True)
    assert verdict.decision is Decision.ABORT
    assert verdict.sentence == "aborted: p95 is 306 ms, more than 2 times the stable version's 101 ms"


@pytest.mark.parametrize(("moments", "decision"), [(6, Decision.ABORT), (5, Decision.UNDECIDED)])
def test_more_than_five_percent_of_two_hundred_requests_are_never_accepted(moments, decision):
    """The evidence alone is not enough here; a few bursts that fail are no rate yet."""
    limits = Limits(alpha=1e-6, error_rate=0.05)
    good = [Slot(candidate=requests(10))] * 20
    bad = [Slot(candidate=requests(5, errors=3))] * moments
    verdict = look([*good, *bad], limits)
    assert verdict.decision is decision
    if decision is Decision.ABORT:
        assert verdict.sentence == "aborted: 18 of 230 requests (7.83 %) failed, and more than 5 % is never accepted"


def test_the_hard_limit_does_not_blame_what_the_stable_version_broke_as_well():
    limits = Limits(alpha=1e-6, error_rate=0.05)
    both = Slot(candidate=requests(5, errors=3), stable=requests(5, errors=3))
    verdict = look([*[Slot(candidate=requests(10), stable=requests(10))] * 20, *[both] * 6], limits)
    assert verdict.decision is Decision.ABORT
    assert not verdict.blames_version


def test_a_limit_of_ones_own_above_the_hard_one_counts():
    limits = Limits(alpha=1e-6, error_rate=0.2)
    slots = [*[Slot(candidate=requests(40))] * 5, *[Slot(candidate=requests(5, errors=3))] * 6]
    assert look(slots, limits).decision is Decision.PROMOTE


def test_with_a_limit_of_zero_the_first_error_aborts():
    verdict, _ = first_abort(alone(30, failing=1), Limits(error_rate=0))
    assert "where at most 0 % may" in verdict.sentence


def test_one_request_in_twenty_that_takes_long_in_both_versions_aborts_neither():
    """Each p95 is the fast or the slow latency by chance."""
    state = begin(Limits(p95_ms=5000))
    for index in range(400):
        mine = 600.0 if index % 19 == 0 else 30.0
        stable = 600.0 if index % 21 == 0 else 30.0
        state = state.observe(Slot(candidate=requests(1, ms=mine), stable=requests(1, ms=stable)))
    assert judge(state, baked=True).decision is Decision.PROMOTE


def test_an_unhealthy_instance_and_an_error_of_the_database_abort_at_once():
    unhealthy = look([], unhealthy="r8-web-0 does not answer at /health")
    assert (unhealthy.decision, unhealthy.sentence) == (
        Decision.ABORT,
        "aborted: r8-web-0 does not answer at /health",
    )
    own = look([Slot(candidate=requests(1, 1, database_errors=1))])
    assert (own.decision, own.blames_version) == (Decision.ABORT, True)
    assert own.sentence == "aborted: 1 request failed in the database"
    both = look([Slot(candidate=requests(1, 1, database_errors=1), stable=requests(1, 1, database_errors=1))])
    assert (both.decision, both.blames_version) == (Decision.ABORT, False)


def test_probes_are_judged_by_the_limits_and_not_compared():
    state = fold(begin(Limits()), [*beside(20), *alone(20, probe=True), *beside(1)])
    assert state.tallies[Criterion.ERRORS].stage.requests == 41
    assert state.tallies[Criterion.ERRORS_VS_STABLE].stage.requests == 21


def test_probes_do_not_outvote_users():
    """A page fails for one user of ten, and the health path that probes ask is fine."""
    seen = [*alone(9), Slot(candidate=requests(1, 1)), *alone(200, probe=True)]
    verdict = look(seen)
    assert verdict.decision is Decision.UNDECIDED
    assert verdict.sentence == (
        "undecided: of users' own, 1 of 10 requests (10 %) failed, where at most 1 % may; about 90 more requests decide"
    )
    assert look([*seen, *alone(90)]).decision is Decision.PROMOTE
    by_probes = [*alone(10), Slot(candidate=requests(1, 1), probe=True), *alone(200, probe=True)]
    assert look(by_probes).decision is Decision.PROMOTE


def test_a_p95_that_one_burst_made_is_an_event_and_no_rate():
    state = begin(Limits(p95_ms=5000), stable_p95_ms=100)
    burst = [Slot(candidate=requests(15, ms=300.0))]
    verdict = judge(fold(state, [*alone(200), *burst]), baked=True)
    assert verdict.figures["candidate"]["p95_ms"] > 300
    assert verdict.decision is Decision.PROMOTE
    spread = [Slot(candidate=requests(3, ms=300.0))] * 6
    assert judge(fold(state, [*alone(200), *spread]), baked=True).decision is Decision.ABORT


def test_a_version_that_looks_too_slow_is_not_promoted():
    verdict = look([*alone(56), *alone(4, ms=900.0)])
    assert verdict.decision is Decision.UNDECIDED
    assert verdict.sentence == (
        "undecided: 4 of 60 requests took longer than 500 ms (6.67 %), where at most 5 % may; "
        "about 20 more requests decide"
    )


def test_a_stage_counts_anew_and_keeps_the_evidence():
    state = fold(begin(Limits()), beside(55, every=50))
    after = state.next_stage()
    assert judge(after, baked=True).missing == 50
    for criterion, tally in state.tallies.items():
        assert after.tallies[criterion].evidence == tally.evidence


def test_a_verdict_and_a_state_are_json():
    state = fold(begin(Limits(), stable_p95_ms=40), beside(300, every=100, stable_every=90))
    data = json.loads(json.dumps(state.as_json()))
    assert State.from_json(data) == state
    verdict = judge(state, baked=True).as_json()
    assert json.loads(json.dumps(verdict, allow_nan=False)) == verdict


@pytest.mark.parametrize(
    "wrong",
    [
        {"error_rate": 1.1},
        {"error_rate": float("nan")},
        {"hard_error_rate": 0},
        {"p95_ms": 0},
        {"p95_ms": float("inf")},
        {"requests": 0},
        {"hard_requests": 0},
        {"alpha": 0},
        {"margin": 0.9},
        {"hard_p95_times": 0.5},
    ],
)
def test_limits_that_can_not_be_are_refused(wrong):
    with pytest.raises(ValueError, match=r" "):
        Limits(**wrong)


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_a_p95_that_can_not_be_is_refused(wrong):
    with pytest.raises(ValueError, match="finite"):
        begin(Limits(), stable_p95_ms=wrong)


@pytest.mark.parametrize(("number", "text"), [(1, "1"), (99, "99"), (101, "110"), (237, "240"), (12_345, "13,000")])
def test_an_estimate_has_two_digits(number, text):
    assert sentences.about(number) == text


def test_evidence_of_one_in_a_million_is_said_so():
    assert sentences.rarity(1e9).startswith("fewer than 1 of a million")


def test_the_example_of_the_docs_is_true():
    page = (Path(__file__).parents[4] / "docs/judge.md").read_text("utf-8")
    failing = {4, 11, 19, 24}
    state = begin(Limits())
    for request in range(1, 25):
        state = state.observe(Slot(candidate=requests(1, request in failing)))
        e = state.tallies[Criterion.ERRORS].evidence.e
        if request in failing:
            assert f"| {request} | failed | {e:.3g}" in page or f"| {request} | failed | {e:.2g}" in page
        elif request + 1 in failing:
            assert f"to {request} | good | {e:.3g} |" in page or f"to {request} | good | {e:.2g} |" in page
    assert judge(state, baked=False).sentence in " ".join(page.split())


def test_the_judge_knows_no_clock_and_no_files():
    pure = {"__future__", "bisect", "collections", "dataclasses", "enum", "math", "typing", "deploykit"}
    modules = list(Path(deploykit.rollout.judge.__file__).parent.glob("*.py"))
    assert len(modules) > 5
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                assert {name.name.split(".")[0] for name in node.names} <= pure
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] in pure
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"open", "print"}
