from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from deploykit.verify.judge import JudgementOutcome, Sample, judge, percentile


@dataclass(frozen=True)
class Limits:
    error_rate: float
    p95_ms: float
    requests: int


limits = st.builds(
    Limits,
    error_rate=st.floats(0, 1),
    p95_ms=st.floats(1, 10_000),
    requests=st.integers(1, 300),
)


@st.composite
def samples(draw):
    latencies = draw(st.lists(st.floats(0, 20_000), max_size=300))
    return Sample(
        source=draw(st.sampled_from(["user requests", "probe requests"])),
        requests=len(latencies),
        errors=draw(st.integers(0, len(latencies))),
        latencies_ms=latencies,
        database_errors=draw(st.integers(0, 1)),
    )


@given(st.lists(samples(), max_size=3), limits)
def test_a_pass_always_stands_on_enough_requests_within_every_limit(seen, limit):
    verdict = judge(seen, limit)
    if verdict.passed:
        figures = verdict.figures
        assert figures["requests"] >= limit.requests
        assert figures["errors"] == 0 or figures["error_rate"] < limit.error_rate
        assert figures["p95_ms"] < limit.p95_ms
        assert figures["database_errors"] == 0
    else:
        assert verdict.reasons


@given(samples(), limits)
def test_what_failed_too_early_would_have_failed_with_good_ones_for_the_rest(seen, limit):
    if judge([seen], limit).outcome is JudgementOutcome.FAILED and seen.requests < limit.requests:
        missing = limit.requests - seen.requests
        good = Sample(source="good", requests=missing, errors=0, latencies_ms=[0.0] * missing)
        assert judge([seen, good], limit).outcome is JudgementOutcome.FAILED


@given(samples(), limits)
def test_one_more_error_never_makes_it_better(seen, limit):
    worse = Sample(
        source=seen.source,
        requests=seen.requests + 1,
        errors=seen.errors + 1,
        latencies_ms=[*seen.latencies_ms, 0.0],
        database_errors=seen.database_errors,
    )
    before, after = judge([seen], limit), judge([worse], limit)
    if before.outcome is JudgementOutcome.FAILED and not before.reasons[0].startswith("p95"):
        assert after.outcome is JudgementOutcome.FAILED


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.001, 1))
def test_a_percentile_is_a_value_that_at_least_its_share_does_not_exceed(values, share):
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6
