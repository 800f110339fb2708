"""Percentiles out of buckets against those of the values themselves."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploykit.rollout.judge.latencies import Latencies

MILLISECONDS = st.floats(min_value=0.1, max_value=1e6)


@given(st.lists(MILLISECONDS, min_size=1, max_size=200), st.integers(min_value=1, max_value=100))
def test_a_percentile_is_the_value_of_its_rank_rounded_up_to_two_percent(values, hundredths):
    found = Latencies().with_more(values).percentile_ms(hundredths / 100)
    assert found is not None
    value = sorted(values)[math.ceil(hundredths * len(values) / 100) - 1]
    assert value * (1 - 1e-9) <= found <= value * 1.02 * (1 + 1e-9)


def test_there_is_none_without_requests():
    assert Latencies().percentile_ms(0.5) is None


@pytest.mark.parametrize(("share", "number"), [(0.07, 100), (0.28, 25), (0.55, 100)])
def test_a_rounding_error_takes_no_other_rank(share, number):
    """0.07 * 100 is more than 7, by a hair."""
    values = [1.1**place for place in range(number)]
    found = Latencies().with_more(values).percentile_ms(share)
    assert found == pytest.approx(values[round(share * number) - 1], rel=0.021)
