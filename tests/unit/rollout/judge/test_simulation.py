"""How often the judge is wrong, and how soon it is right: simulated, with seeds.

tests/shared/canaries.py has the model of the traffic. `--every-case` makes those that run the whole judge ten times as long.
"""

from __future__ import annotations

import random
from statistics import median
from typing import TYPE_CHECKING

import pytest

from deploykit.rollout.judge import Criterion, Decision, Limits, Requests, Slot, State, begin, judge
from deploykit.rollout.judge.limits import ALPHA_SHARES
from deploykit.rollout.judge.tally import Counts, Tally
from tests.shared.canaries import BURSTS, SIZES, ManyCanaries, bursts

if TYPE_CHECKING:
    from collections.abc import Iterable

LIMITS = Limits(error_rate=0.01, alpha=0.01)
THRESHOLD = 1 / (LIMITS.alpha * ALPHA_SHARES[Criterion.ERRORS])
GOOD_MS = 30.0


def slot(requests: int, errors: int) -> Slot:
    return Slot(candidate=Requests(latencies_ms=(GOOD_MS,) * requests, errors=errors))


def requests_until_abort(seen: Iterable[tuple[int, int]], at_most: int) -> float:
    """The candidate's own requests until the whole judge aborts; infinite when that takes more than `at_most`."""
    state = begin(LIMITS)
    for requests, errors in seen:
        state = state.observe(slot(requests, errors))
        if errors and judge(state, baked=False).decision is Decision.ABORT:
            return state.candidate.requests
        if state.candidate.requests >= at_most:
            break
    return float("inf")


def singles(rng: random.Random, rate: float) -> Iterable[tuple[int, int]]:
    while True:
        yield 1, rng.random() < rate


def test_one_request_in_ten_fails_and_half_of_the_canaries_are_aborted_within_fifty_requests():
    rng = random.Random(10)
    alone = [requests_until_abort(singles(rng, 0.1), 1000) for _ in range(200)]
    assert median(alone) <= 40
    in_bursts = [requests_until_abort(bursts(rng, 0.1, 0.0), 1000) for _ in range(200)]
    assert median(in_bursts) <= 50
    assert max(alone + in_bursts) < float("inf")


def test_errors_that_come_together_take_longer_to_be_sure_of():
    rng = random.Random(11)
    assert median(requests_until_abort(bursts(rng, 0.1, 0.3), 2000) for _ in range(100)) <= 90


@pytest.mark.parametrize(("rate", "together"), [(0.005, 0.3), (0.01, 0.3), (0.01, 1.0)])
def test_of_ten_thousand_versions_within_the_limit_at_most_one_in_a_hundred_is_aborted(rate, together):
    """All that errors can abort by: the evidence, at its part of alpha, and the hard limit."""
    rng = random.Random(20)
    aborts = 0
    for _ in range(10):
        sizes = rng.choices(SIZES, k=BURSTS)
        many = ManyCanaries(sizes=sizes, limit=LIMITS.error_rate, rate=rate, together=together)
        aborts += sum(many.run(rng, THRESHOLD)[2] for _ in range(1000))
    assert aborts <= 100, f"{aborts} of 10,000"


def test_the_quick_simulation_has_the_e_values_of_the_judge():
    rng = random.Random(21)
    many = ManyCanaries(sizes=rng.choices(SIZES, k=BURSTS), limit=LIMITS.error_rate, rate=0.01, together=0.3)
    for _ in range(5):
        seen, e, _ = many.run(rng, THRESHOLD)
        errors = dict(seen)
        state = begin(LIMITS)
        for index in range(seen[-1][0] + 1):
            state = state.observe(slot(many.sizes[index], errors.get(index, 0)))
        assert state.tallies[Criterion.ERRORS].evidence.e == pytest.approx(e, rel=1e-9)


def test_the_quick_simulation_has_the_error_rate_that_it_says():
    rng = random.Random(22)
    many = ManyCanaries(sizes=rng.choices(SIZES, k=BURSTS), limit=LIMITS.error_rate, rate=0.02, together=0.3)
    errors = sum(bad for _ in range(300) for _, bad in many.run(rng, float("inf"))[0])
    assert 0.0185 < errors / (300 * many.requests[-1]) < 0.0215


def compared(rng: random.Random, rate: float, stable_rate: float, share: float, blocks: int) -> bool:
    """Whether a canary with that share of the traffic is aborted by comparison alone: one request of its own in each
    block, and as many of the stable version as come with it.
    """
    limits = Limits()
    tally = Tally(threshold=1 / (limits.alpha * ALPHA_SHARES[Criterion.ERRORS_VS_STABLE]))
    others = round(1 / share) - 1
    for _ in range(blocks):
        bad = rng.random() < rate
        stable_bad = sum(rng.random() < stable_rate for _ in range(others))
        tally = tally.against_stable(
            Counts(requests=1, bad=bad, stable_requests=others, stable_bad=stable_bad), limits.margin
        )
        if tally.crossed:
            return True
    return False


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5])
def test_what_fails_in_both_versions_is_not_held_against_one_of_them(share, every_case):
    rng = random.Random(30)
    runs = 1000 if every_case else 40
    assert sum(compared(rng, 0.08, 0.08, share, 400) for _ in range(runs)) <= 0.01 * runs


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5])
def test_a_version_that_fails_three_times_as_often_is_aborted_in_the_same_incident(share, every_case):
    rng = random.Random(31)
    runs = 300 if every_case else 10
    assert sum(compared(rng, 0.24, 0.08, share, 1500) for _ in range(runs)) >= 0.9 * runs


def both(rng: random.Random, *, slow: float, stable_slow: float, milliseconds: float = 0.0) -> Slot:
    """A slot of two equal shares: latencies as services have them, and a part that takes 600 ms or more."""

    def latencies(slow_share: float, more: float) -> tuple[float, ...]:
        return tuple(
            600 + rng.expovariate(0.01) if rng.random() < slow_share else more + rng.lognormvariate(4, 0.4)
            for _ in range(rng.choice(SIZES))
        )

    return Slot(
        candidate=Requests(latencies_ms=latencies(slow, milliseconds)),
        stable=Requests(latencies_ms=latencies(stable_slow, 0.0)),
    )


def test_a_version_that_is_a_few_milliseconds_slower_is_not_aborted_however_long_it_runs(every_case):
    rng = random.Random(40)
    state = begin(Limits())
    for _ in range(40_000 if every_case else 2_000):
        state = state.observe(both(rng, slow=0.01, stable_slow=0.01, milliseconds=3.0))
    verdict = judge(state, baked=True)
    assert verdict.decision is Decision.PROMOTE, verdict.sentence


def test_a_version_that_is_slow_is_aborted_by_the_limit_and_by_comparison():
    rng = random.Random(41)
    state = begin(Limits())
    while judge(state, baked=False).decision is not Decision.ABORT:
        state = state.observe(both(rng, slow=0.2, stable_slow=0.001))
        assert state.candidate.requests < 1000
    verdict = judge(state, baked=False)
    assert verdict.blames_version
    within_the_limit = begin(Limits(p95_ms=5000, hard_requests=10_000), stable_p95_ms=110)
    while judge(within_the_limit, baked=False).decision is not Decision.ABORT:
        within_the_limit = within_the_limit.observe(both(rng, slow=0.2, stable_slow=0.001))
        assert within_the_limit.candidate.requests < 1000
    assert within_the_limit.tallies[Criterion.SLOW_VS_STABLE].crossed


def equal_versions(rng: random.Random, rate: float) -> State:
    """A whole canary at a fifth of the traffic, at every limit at once: all four criteria, and the hard limits."""
    state = begin(Limits())
    candidate, stable = bursts(rng, rate, 0.3), [bursts(rng, rate, 0.3) for _ in range(4)]
    for _ in range(BURSTS // 2):
        seen = []
        for requests, errors in (next(candidate), tuple(map(sum, zip(*map(next, stable), strict=True)))):
            latencies = tuple(600.0 if rng.random() < 0.05 else GOOD_MS for _ in range(requests))
            seen.append(Requests(latencies_ms=latencies, errors=errors))
        state = state.observe(Slot(candidate=seen[0], stable=seen[1]))
    return state


def test_equal_versions_at_every_limit_at_once_are_hardly_ever_aborted(every_case):
    rng = random.Random(50)
    runs = 300 if every_case else 10
    verdicts = [judge(equal_versions(rng, 0.01), baked=True) for _ in range(runs)]
    assert sum(verdict.decision is Decision.ABORT for verdict in verdicts) <= 0.01 * runs


def blamed(rng: random.Random, rate: float, stable_rate: float, others: int) -> bool:
    """Whether the abort of a canary with so many requests of the stable version beside each of its own blames it."""
    state = begin(Limits())
    while True:
        failed = rng.random() < rate
        stable_failed = sum(rng.random() < stable_rate for _ in range(others))
        state = state.observe(
            Slot(
                candidate=Requests(latencies_ms=(GOOD_MS,), errors=failed),
                stable=Requests(latencies_ms=(GOOD_MS,) * others, errors=stable_failed),
            )
        )
        verdict = judge(state, baked=False) if failed else None
        if verdict is not None and verdict.decision is Decision.ABORT:
            return verdict.blames_version
        assert state.candidate.requests < 3000


def test_most_shared_incidents_are_not_blamed_on_the_version_and_most_of_its_own_faults_are(every_case):
    rng = random.Random(60)
    runs = 400 if every_case else 60
    assert sum(blamed(rng, 0.08, 0.08, others=1) for _ in range(runs)) <= 0.2 * runs
    assert sum(blamed(rng, 0.1, 0.005, others=1) for _ in range(runs)) >= 0.9 * runs
