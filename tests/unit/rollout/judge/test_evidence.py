"""Nobody can expect to win against a version that is as good as allowed: exact, for all outcomes of small slots."""

from __future__ import annotations

import math
from itertools import combinations, product

import pytest

from deploykit.rollout.judge.evidence import BETS, KEPT, Evidence
from deploykit.rollout.judge.tally import Counts, Tally

ROUNDING = 1e-12


def expected(evidence: Evidence, outcomes: list[tuple[float, float]], *, at_most: float, requests: int) -> float:
    """The mean of the next e-value over (probability, share of bad requests)."""
    return sum(p * evidence.observe(share, at_most=at_most, requests=requests).e for p, share in outcomes)


def independent(rate: float, requests: int) -> list[tuple[float, float]]:
    return [
        (math.comb(requests, bad) * rate**bad * (1 - rate) ** (requests - bad), bad / requests)
        for bad in range(requests + 1)
    ]


def states() -> list[Evidence]:
    """Evidence as it is at the beginning, after good requests, and after bad ones."""
    begin = Evidence()
    good = begin
    for _ in range(30):
        good = good.observe(0, at_most=0.01, requests=2)
    return [begin, good, begin.observe(1, at_most=0.01, requests=1)]


def test_one_bet_is_the_likelihood_ratio_of_a_higher_share():
    limit, risked, part = 0.01, *BETS[2]
    higher = limit + risked * (1 - limit)
    staked = (1 - KEPT) * part
    for share, ratio in ((0, (1 - higher) / (1 - limit)), (1, higher / limit)):
        money = Evidence().observe(share, at_most=limit, requests=1).bets[2]
        assert money == pytest.approx(staked * ratio)


@pytest.mark.parametrize("requests", [1, 2, 3, 6])
@pytest.mark.parametrize(("limit", "rate"), [(0.01, 0.01), (0.01, 0.005), (0.05, 0.05), (0.3, 0.3), (1.0, 1.0)])
def test_the_expectation_never_grows_while_the_limit_is_kept(requests, limit, rate):
    for evidence in states():
        assert (
            expected(evidence, independent(rate, requests), at_most=limit, requests=requests) <= evidence.e + ROUNDING
        )


@pytest.mark.parametrize("requests", [2, 5, 20])
def test_nor_when_all_requests_of_a_slot_fail_together(requests):
    for evidence in states():
        together = [(0.01, 1.0), (0.99, 0.0)]
        assert expected(evidence, together, at_most=0.01, requests=requests) == pytest.approx(evidence.e, rel=1e-12)


@pytest.mark.parametrize("rate", [0.02, 0.1])
def test_it_grows_in_the_long_run_above_the_limit(rate):
    """The mean of the logarithm for the bet that fits: this is what makes an abort certain in the end."""
    growth = max(rate * math.log(1 - risked + risked / 0.01) + (1 - rate) * math.log(1 - risked) for risked, _ in BETS)
    assert growth > 0.002


@pytest.mark.parametrize(("mine", "others"), [(1, 1), (1, 4), (2, 3), (4, 4), (5, 1)])
@pytest.mark.parametrize("margin", [1.0, 1.5])
def test_with_equal_versions_a_comparison_grows_in_no_mean_whatever_fails(mine, others, margin):
    """Any number of bad requests, each set of them equally likely: an incident that both share says nothing."""
    threshold = 1e12
    start = Tally(threshold=threshold)
    for bad in range(mine + others + 1):
        sets = list(combinations(range(mine + others), bad))
        mean = 0.0
        for failed in sets:
            own = sum(index < mine for index in failed)
            counts = Counts(requests=mine, bad=own, stable_requests=others, stable_bad=bad - own)
            mean += start.against_stable(counts, margin).evidence.e / len(sets)
        assert mean <= start.evidence.e + ROUNDING


@pytest.mark.parametrize(("mine", "others"), [(1, 1), (1, 4), (3, 3), (4, 2)])
@pytest.mark.parametrize("stable_rate", [0.001, 0.05, 0.3])
def test_a_version_whose_odds_are_within_the_margin_grows_in_no_mean(mine, others, stable_rate):
    margin = 1.5
    odds = margin * stable_rate / (1 - stable_rate)
    rate = odds / (1 + odds)
    start = Tally(threshold=1e12)
    mean = 0.0
    for outcome in product((0, 1), repeat=mine + others):
        own, other = sum(outcome[:mine]), sum(outcome[mine:])
        chance = rate**own * (1 - rate) ** (mine - own) * stable_rate**other * (1 - stable_rate) ** (others - other)
        counts = Counts(requests=mine, bad=own, stable_requests=others, stable_bad=other)
        mean += chance * start.against_stable(counts, margin).evidence.e
    assert mean <= 1 + ROUNDING


def test_a_burst_that_fails_counts_once_and_single_failures_count_each():
    burst = Evidence().observe(1, at_most=0.01, requests=8)
    singles = Evidence()
    for _ in range(8):
        singles = singles.observe(1, at_most=0.01, requests=1)
    assert burst.e < 100 < 10**6 < singles.e


def test_good_requests_count_the_same_in_a_slot_as_one_by_one():
    """The money that is on the table; what is kept back is staked by observation."""
    staked = Evidence(bets=tuple(part for _, part in BETS), kept=0.0, observations=10**9)
    slot, singles = staked.observe(0, at_most=0.01, requests=5), staked
    for _ in range(5):
        singles = singles.observe(0, at_most=0.01, requests=1)
    assert slot.bets == pytest.approx(singles.bets, abs=1e-6)


@pytest.mark.parametrize(("share", "at_most"), [(-0.1, 0.5), (1.1, 0.5), (math.nan, 0.5), (0.5, 0.0), (0.5, 1.1)])
def test_what_is_no_share_is_refused(share, at_most):
    with pytest.raises(ValueError, match="can't be judged"):
        Evidence().observe(share, at_most=at_most, requests=1)


def test_a_version_that_turns_bad_after_hours_is_noticed():
    evidence = Evidence()
    for _ in range(100_000):
        evidence = evidence.observe(0, at_most=0.01, requests=1)
    requests = 0
    while evidence.e < 200:
        requests += 1
        evidence = evidence.observe(float(requests % 10 == 0), at_most=0.01, requests=1)
        assert requests < 400
