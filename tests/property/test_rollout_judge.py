"""What holds for the judge of a canary whatever users, probes and both versions do."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from deploykit.rollout.judge import Decision, Limits, OpenSlots, Record, Requests, Slot, State, begin, fold, judge
from deploykit.rollout.judge.evidence import Evidence

RELATIVE_ROUNDING = 1e-9
fewer = settings(max_examples=50)


@st.composite
def one_version(draw: st.DrawFn, at_least: int = 0) -> Requests:
    latencies = draw(st.lists(st.sampled_from([0.0, 1.0, 30.0, 70.0, 501.0, 1e6]), min_size=at_least, max_size=8))
    errors = draw(st.integers(0, len(latencies)))
    return Requests(latencies_ms=tuple(latencies), errors=errors)


users = st.builds(Slot, candidate=one_version(), stable=one_version())
probes = st.builds(Slot, candidate=one_version(at_least=1), probe=st.just(True))
traffic = st.lists(st.one_of(users, users, probes), max_size=25)
limits = st.builds(
    Limits,
    error_rate=st.sampled_from([0, 0.001, 0.01, 0.2, 1]),
    p95_ms=st.sampled_from([20.0, 500.0]),
    requests=st.integers(1, 60),
    alpha=st.sampled_from([1e-6, 0.01, 0.5]),
    margin=st.sampled_from([1.0, 1.5, 10.0]),
    hard_requests=st.sampled_from([20, 200]),
)
starts = st.builds(begin, limits, stable_p95_ms=st.sampled_from([None, 0.2, 40.0]))


@given(starts, traffic)
def test_money_is_never_negative_infinite_or_lost_to_rounding(state: State, slots: list[Slot]) -> None:
    for slot in slots:
        state = state.observe(slot)
        for tally in state.tallies.values():
            assert all(money >= 0 for money in tally.evidence.bets)
            assert 0 < tally.evidence.e < math.inf


@fewer
@given(starts, traffic, st.booleans())
def test_every_look_has_a_verdict_and_a_promotion_has_its_evidence(
    state: State, slots: list[Slot], baked: bool
) -> None:
    for slot in [Slot(), *slots]:
        state = state.observe(slot)
        verdict = judge(state, baked=baked)
        json.dumps(verdict.as_json(), allow_nan=False)
        assert verdict.sentence.split(":")[0] in {"promoted", "aborted", "undecided"}
        seen = state.candidate
        if verdict.decision is Decision.PROMOTE:
            assert baked
            assert seen.requests >= state.limits.requests
            assert seen.errors <= max(state.limits.error_rate, 1e-6) * seen.requests
            assert not any(tally.crossed for tally in state.tallies.values())
        if verdict.decision is Decision.UNDECIDED:
            assert verdict.more_requests is None or verdict.more_requests >= 1
            assert verdict.more_requests is not None or not baked
        if verdict.decision is not Decision.ABORT:
            assert not verdict.blames_version


@given(starts, st.lists(st.builds(Slot, stable=one_version()), max_size=20))
def test_without_requests_of_its_own_no_version_is_promoted(state: State, slots: list[Slot]) -> None:
    verdict = judge(fold(state, slots), baked=True)
    assert verdict.decision is Decision.UNDECIDED
    assert verdict.missing == state.limits.requests


@fewer
@given(starts, traffic, st.data())
def test_more_errors_never_make_an_abort_less_likely(state: State, slots: list[Slot], data: st.DataObject) -> None:
    """Until the better one is aborted every e-value of the worse one is at least as high; then both are aborted."""
    worse_state = state
    for slot in slots:
        candidate = slot.candidate
        more = data.draw(st.integers(candidate.errors, candidate.requests))
        state = state.observe(slot)
        worse_state = worse_state.observe(replace(slot, candidate=replace(candidate, errors=more)))
        for criterion, tally in state.tallies.items():
            worse = worse_state.tallies[criterion]
            assert worse.crossed or worse.evidence.e >= tally.evidence.e * (1 - RELATIVE_ROUNDING)
        if judge(state, baked=True).decision is Decision.ABORT:
            assert judge(worse_state, baked=True).decision is Decision.ABORT


@fewer
@given(starts, traffic)
def test_a_killed_release_goes_on_where_it_was(state: State, slots: list[Slot]) -> None:
    whole = fold(state, slots)
    for cut in range(len(slots) + 1):
        restored = State.from_json(json.loads(json.dumps(fold(state, slots[:cut]).as_json(), allow_nan=False)))
        assert fold(restored, slots[cut:]) == whole


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(1e-6, 1), st.integers(0, 1000)), max_size=50))
def test_evidence_without_bad_requests_only_falls_and_never_to_nothing(
    observations: list[tuple[float, float, int]],
) -> None:
    evidence = Evidence()
    for share, at_most, requests in observations:
        before = evidence.e
        evidence = evidence.observe(min(share, at_most), at_most=at_most, requests=requests)
        assert 0 < evidence.e <= before * (1 + RELATIVE_ROUNDING)


records = st.lists(
    st.builds(
        Record,
        seconds=st.floats(0, 3),
        candidate=st.booleans(),
        error=st.booleans(),
        ms=st.floats(0, 1000),
    ),
    max_size=60,
)


@given(records, st.lists(st.floats(0, 4), max_size=5))
def test_every_request_is_in_one_slot_whenever_it_is_answered(seen: list[Record], looks: list[float]) -> None:
    opened, slots, told = OpenSlots(), [], 0
    for until in [*sorted(looks), math.inf]:
        batch = seen[told:] if until == math.inf else seen[told : told + 10]
        told += len(batch)
        opened, closed = opened.take(batch, until=until)
        slots += closed
    assert opened.waiting == ()
    assert sum(slot.candidate.requests for slot in slots) == sum(record.candidate for record in seen)
    assert sum(slot.stable.requests for slot in slots) == sum(not record.candidate for record in seen)
    assert sum(slot.candidate.errors for slot in slots) == sum(one.error for one in seen if one.candidate)
