"""Verification of a release through a real edge: user requests, probes, and both."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from deploykit.verify.judge import JudgementOutcome
from deploykit.verify.verify import probe_paths, verify


@dataclass(frozen=True)
class Limits:
    error_rate: float = 0.01
    p95_ms: float = 2000
    requests: int = 50


@pytest.fixture
def edge(make_edge, app):
    edge = make_edge()
    edge.ensure()
    edge.attach(app("r1-web-0"))
    edge.set_weights({"r1-web-0": 100})
    edge.attach(app("r2-web-0"))
    return edge


def test_a_release_without_users_is_judged_by_probes_at_weight_0(edge, client):
    verdict = verify(edge, "r2", Limits(), since=edge.mark(), paths=probe_paths("/health"))
    assert verdict.passed
    assert verdict.figures["sources"] == {"user requests": 0, "probe requests": 50}


def test_users_requests_come_first(edge, load, eventually):
    mark = edge.mark()
    edge.set_weights({"r2-web-0": 100, "r1-web-0": 0})
    with load(edge.url(), clients=2) as clients:
        clients.more(60)
    eventually(lambda: edge.traffic("r2", mark).requests >= 60)
    verdict = verify(edge, "r2", Limits(), since=mark, paths=probe_paths("/health"))
    assert verdict.passed
    assert set(verdict.figures["sources"]) == {"user requests"}


def test_a_few_users_are_made_up_for(edge, client, eventually):
    mark = edge.mark()
    edge.set_weights({"r2-web-0": 100, "r1-web-0": 0})
    here = client(edge.url())
    for _ in range(10):
        here.get()
    eventually(lambda: edge.traffic("r2", mark).requests == 10)
    verdict = verify(edge, "r2", Limits(), since=mark, paths=probe_paths("/health"))
    assert str(verdict).startswith("passed (10 user requests + 40 probe requests, 0 errors, p95 ")


def test_errors_that_users_get_fail_the_release(edge, client, eventually):
    mark = edge.mark()
    edge.set_weights({"r2-web-0": 100, "r1-web-0": 0})
    here = client(edge.url())
    for path in ("/", "/status/500", "/database"):
        here.get(path)
    eventually(lambda: edge.traffic("r2", mark).requests == 3)
    verdict = verify(edge, "r2", Limits(), since=mark, paths=probe_paths("/health"))
    assert verdict.outcome is JudgementOutcome.FAILED
    assert verdict.figures["database_errors"] == 1


def test_a_dead_release_fails_and_the_live_one_does_not_cover_for_it(edge, app):
    app.kill("r2-web-0")
    verdict = verify(edge, "r2", Limits(), since=edge.mark(), paths=probe_paths("/health"))
    assert verdict.outcome is JudgementOutcome.FAILED
    assert "status 503" in verdict.causes[0]
