from __future__ import annotations

from dataclasses import dataclass

import pytest

from deploykit.verify.judge import JudgementOutcome, Sample, judge, percentile


@dataclass(frozen=True)
class Limits:
    error_rate: float = 0.01
    p95_ms: float = 500
    requests: int = 50


def sample(requests=100, errors=0, ms=10.0, source="user requests", **more):
    return Sample(source=source, requests=requests, errors=errors, latencies_ms=[ms] * requests, **more)


def test_enough_good_requests_pass():
    verdict = judge([sample()], Limits())
    assert verdict.passed
    assert verdict.reasons == ()
    assert str(verdict) == "passed (100 user requests, 0 errors, p95 10 ms)"


def test_no_traffic_is_no_evidence():
    verdict = judge([], Limits())
    assert verdict.outcome is JudgementOutcome.INCONCLUSIVE
    assert verdict.figures["error_rate"] is None
    assert str(verdict) == "inconclusive (no requests, 0 errors): only 0 of at least 50 requests were seen"


def test_one_request_too_few_is_inconclusive():
    assert judge([sample(49)], Limits()).outcome is JudgementOutcome.INCONCLUSIVE
    assert judge([sample(50)], Limits()).passed


def test_users_and_probes_are_judged_together_and_told_apart():
    verdict = judge([sample(12), sample(38, source="probe requests")], Limits())
    assert verdict.passed
    assert "12 user requests + 38 probe requests" in str(verdict)
    assert verdict.figures["sources"] == {"user requests": 12, "probe requests": 38}


@pytest.mark.parametrize(("requests", "errors", "passes"), [(1000, 9, True), (1000, 10, False), (50, 1, False)])
def test_errors_fail_from_the_limit_on(requests, errors, passes):
    assert judge([sample(requests, errors)], Limits()).passed is passes


def test_no_error_is_below_every_limit():
    assert judge([sample()], Limits(error_rate=0)).passed
    assert not judge([sample(errors=1)], Limits(error_rate=0)).passed


def test_few_requests_fail_when_no_number_of_good_ones_could_save_them():
    verdict = judge([sample(requests=3, errors=3)], Limits())
    assert verdict.outcome is JudgementOutcome.FAILED
    assert verdict.reasons == ("3 of 3 requests failed (100.00%), the limit is 1.00%",)
    assert judge([sample(3, 1)], Limits(error_rate=0.05)).outcome is JudgementOutcome.INCONCLUSIVE


def test_a_slow_version_fails_by_its_p95():
    verdict = judge([sample(ms=500.0)], Limits())
    assert verdict.outcome is JudgementOutcome.FAILED
    assert verdict.reasons == ("p95 is 500 ms, the limit is 500 ms",)
    assert judge([sample(ms=499.9)], Limits()).passed


def test_five_slow_ones_in_a_hundred_are_allowed_and_six_are_not():
    def mixed(slow):
        return Sample(source="x", requests=100, errors=0, latencies_ms=[900.0] * slow + [1.0] * (100 - slow))

    assert judge([mixed(5)], Limits()).passed
    assert not judge([mixed(6)], Limits()).passed


def test_an_error_of_the_database_fails():
    assert judge([sample(database_errors=1)], Limits()).reasons == ("1 requests failed in the database",)


def test_causes_and_figures_are_handed_on():
    data = judge([sample(errors=50, causes=("GET /: status 500",))], Limits()).as_json()
    assert data["outcome"] == "failed"
    assert data["causes"] == ["GET /: status 500"]
    assert data["figures"]["error_rate"] == 0.5


def test_the_percentile_is_by_nearest_rank():
    # The example of https://en.wikipedia.org/wiki/Percentile#The_nearest-rank_method
    values = [15, 20, 35, 40, 50]
    assert [percentile(values, share) for share in (0.05, 0.3, 0.4, 0.5, 1)] == [15, 20, 20, 35, 50]
    assert percentile(list(range(1, 101)), 0.07) == 7
    assert percentile([], 0.5) is None
    with pytest.raises(ValueError, match="share"):
        percentile(values, 0)
