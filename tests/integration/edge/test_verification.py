"""Verification of a release through a real edge: users' requests, probes, and both."""

from __future__ import annotations

import time

import pytest

from deploykit.model import DeploykitError
from deploykit.release.execution.verification import Verification
from deploykit.release.version.spec import DatabaseSpec, ReleaseSpec, ThresholdSpec
from deploykit.rollout import Strategy

SPEC = ReleaseSpec(
    app="shop",
    environment="local",
    argv=("serve",),
    health="/health",
    smoke=(),
    replicas=1,
    start_timeout=30.0,
    drain_timeout=5.0,
    stop_timeout=3.0,
    warm_for=60.0,
    thresholds=ThresholdSpec(error_rate=0.01, p95_ms=2000.0, requests=50),
    watch=(),
    database=DatabaseSpec(kind="none", source="", variable="", driver="", migrations="", timeout=600.0),
)


@pytest.fixture
def edge(two):
    return two


def watch(edge, since, *, bake=0.0, share=100, judged=None, stage=1, view=lambda _view: None):
    verification = Verification(
        edge=edge, release="r2", spec=SPEC, strategy=Strategy(undecided="abort"), unhealthy=lambda: "", view=view
    )
    about = {"stage": stage, "stages": 1, "share": share, "bake": bake, "enough": 0, "confirm": False}
    return verification.watch(about, since, judged)


def figures(found, version="candidate"):
    return found["verdict"]["figures"][version]


def test_a_release_without_users_is_judged_by_probes_at_weight_0(edge, client):
    found = watch(edge, edge.mark())
    assert (figures(found)["requests"], figures(found)["probes"], figures(found)["errors"]) == (50, 50, 0)


def test_users_requests_come_first(edge, load, eventually):
    mark = edge.mark()
    edge.set_weights({"r2-web-0": 100, "r1-web-0": 0})
    with load(edge.url(), clients=2) as clients:
        clients.more(60)
    eventually(lambda: edge.traffic("r2", mark).requests >= 60)
    found = watch(edge, mark)
    assert figures(found)["requests"] >= 60
    assert figures(found)["probes"] == 0


def test_both_versions_are_counted_beside_each_other_and_the_next_stage_goes_on_from_there(edge, load, eventually):
    mark = edge.mark()
    edge.set_weights({"r2-web-0": 50, "r1-web-0": 50})
    with load(edge.url(), clients=2) as clients:
        clients.more(160)
    eventually(lambda: min(edge.traffic(name, mark).requests for name in ("r1", "r2")) >= 50)
    first = watch(edge, mark, share=50)
    assert figures(first)["requests"] >= 50
    assert figures(first, "stable")["requests"] >= 50
    again = watch(edge, mark, judged=first["judged"], stage=2)
    assert figures(again)["probes"] == figures(again)["requests"] == 50, "each request counts once"


def test_a_few_users_are_made_up_for(edge, client, eventually):
    mark = edge.mark()
    edge.set_weights({"r2-web-0": 100, "r1-web-0": 0})
    here = client(edge.url())
    for _ in range(10):
        here.get()
    eventually(lambda: edge.traffic("r2", mark).requests == 10)
    assert watch(edge, mark)["note"].startswith("promoted: 50 requests (40 probes), 0 failed, p95 ")


def test_an_error_of_the_database_that_a_user_got_aborts(edge, client, eventually):
    mark = edge.mark()
    edge.set_weights({"r2-web-0": 100, "r1-web-0": 0})
    here = client(edge.url())
    for path in ("/", "/status/500", "/database"):
        here.get(path)
    eventually(lambda: edge.traffic("r2", mark).requests == 3)
    with pytest.raises(DeploykitError, match="aborted: 1 request failed in the database"):
        watch(edge, mark)


def test_errors_abort_in_the_middle_of_the_bake_time(edge, client, eventually):
    """The proxy's own clock says when each request began."""
    mark = edge.mark()
    edge.set_weights({"r2-web-0": 100, "r1-web-0": 0})
    here = client(edge.url())
    for _ in range(8):
        here.get("/status/500")
        time.sleep(0.11)  # each is a moment of its own
    eventually(lambda: edge.traffic("r2", mark).requests == 8)
    views = []
    with pytest.raises(DeploykitError, match=r"aborted: \d of \d requests failed"):
        watch(edge, mark, bake=60, view=views.append)
    assert views[-1].left > 0


def test_a_dead_release_fails_and_the_live_one_does_not_cover_for_it(edge, app):
    app.kill("r2-web-0")
    with pytest.raises(DeploykitError, match="aborted") as failed:
        watch(edge, edge.mark())
    assert any("status 503" in detail for detail in failed.value.details)
