"""What is looked at before a version gets traffic, and what is not shown to anybody on the way."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest

from deploykit.edge.interface import Mark
from deploykit.model import UsageError
from deploykit.release.execution.checks import Checks
from deploykit.release.execution.verification import judge_live
from deploykit.release.version.spec import SmokeSpec
from deploykit.rollout.judge import Decision
from deploykit.targets.interface import InstanceState
from deploykit.verify.health import UnhealthyError
from tests.shared.attackers import listening


@pytest.fixture
def checks(tmp_path):
    return Checks(
        target=SimpleNamespace(
            name="docker",
            logs=lambda _: (),
            instances=tuple,
            instance=lambda _: SimpleNamespace(state=InstanceState.RUNNING, exit_code=None),
        ),
        secrets=(),
        folder=tmp_path,
        variable=lambda _: "wren-and-finch",
    )


def test_smoke_checks_show_no_variable_by_plain_http_over_the_network(spec, checks):
    """An engine over TCP: the version's address is on another machine."""
    secret = SmokeSpec(path="/", headers={"Authorization": "Bearer ${API_KEY}"})
    plain = dataclasses.replace(spec, smoke=(SmokeSpec(path="/"),))
    with listening() as version:
        here = SimpleNamespace(name="r1-web-0", host=version.host, port=version.port, inner_host="172.18.0.2")
        with pytest.raises(UsageError, match="API_KEY to 192.0.2.7 by plain http") as refused:
            there = SimpleNamespace(**{**vars(here), "host": "192.0.2.7"})
            checks.smoke(there, dataclasses.replace(spec, smoke=(secret,)))
        assert "ssh://" in refused.value.next_step
        checks.smoke(here, dataclasses.replace(spec, smoke=(secret,)))
        checks.smoke(here, plain)
        assert version.heard[0].headers["Authorization"] == "Bearer wren-and-finch"


def test_an_application_that_wants_its_own_host_gets_it_in_every_check(spec, checks):
    """Django with ALLOWED_HOSTS, at an address on an engine's network."""
    with listening() as version:
        version.answer = lambda heard: (200 if heard.headers.get("Host") == "shop.example.org" else 400, {}, b"shop")
        instance = SimpleNamespace(name="r1-web-0", process="web", host=version.host, port=version.port, inner_host="")
        edge = SimpleNamespace(
            url=lambda: version.url,
            answers=lambda since: ((), since),
            probe_headers=lambda _: {"X-Deploykit-Probe": "token:r1-web-0"},
        )
        spec = dataclasses.replace(spec, start_timeout=0.2)
        with pytest.raises(UnhealthyError, match=r"answers 400.*set service\.health_host"):
            checks.healthy(instance, spec, "1.0.0")
        version.heard.clear()
        spec = dataclasses.replace(spec, start_timeout=20, health_host="shop.example.org")
        checks.healthy(instance, spec, "1.0.0")
        checks.smoke(instance, spec)
        verdict, _ = judge_live(edge, "r1", spec, since=Mark({}))
        assert verdict.decision is Decision.PROMOTE
        assert {heard.headers["Host"] for heard in version.heard} == {"shop.example.org"}
        assert len(version.heard) > 50
        own = SmokeSpec(path="/", headers={"host": "admin.example.org"}, status=400)
        checks.smoke(instance, dataclasses.replace(spec, smoke=(own,)))
        assert version.heard[-1].headers["host"] == "admin.example.org"
