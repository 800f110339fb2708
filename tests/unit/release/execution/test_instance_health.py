from __future__ import annotations

from types import SimpleNamespace

import pytest

from deploykit.edge.interface import Server, ServerState
from deploykit.model import DeploykitError
from deploykit.release.execution.instance_health import InstanceHealth
from tests.shared.watched_traffic import Clock


def state(name: str, *, up: bool, weight: int = 100) -> ServerState:
    server = Server(name=name, release=name.partition("-")[0], host="127.0.0.1", port=1)
    return ServerState(server=server, weight=weight, in_flight=0, up=up)


@pytest.fixture
def edge():
    return SimpleNamespace(states=[])


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def health(edge, clock):
    return InstanceHealth(release="r2", ended=lambda: "", servers=lambda: edge.states, clock=clock)


def looks(health, count: int) -> list[str]:
    """One a second."""
    said = []
    for _ in range(count):
        said.append(health())
        health.clock.sleep(1)
    return said


def test_an_instance_that_hangs_is_noticed_though_the_edge_lets_no_user_meet_it(health, edge):
    edge.states = [state("r1-web-0", up=True), state("r2-web-0", up=True), state("r2-web-1", up=False)]
    assert looks(health, 4) == ["", "", "", "r2-web-1 fails the edge's health check"]


def test_a_check_that_fails_now_and_then_is_no_reason(health, edge):
    for up in (True, False, False, False, True, False, False, False):
        edge.states = [state("r1-web-0", up=True), state("r2-web-0", up=up)]
        assert looks(health, 1) == [""]


def test_many_looks_in_a_moment_are_one(health, edge):
    edge.states = [state("r2-web-0", up=False)]
    assert [health() for _ in range(50)] == [""] * 50


def test_nobody_is_blamed_where_all_versions_fail_at_once(health, edge):
    edge.states = [state("r1-web-0", up=False), state("r2-web-0", up=False)]
    assert looks(health, 5) == [""] * 5


def test_where_it_has_all_the_traffic_there_is_nothing_to_compare_with(health, edge):
    edge.states = [state("r1-web-0", up=True, weight=0), state("r2-web-0", up=False)]
    assert looks(health, 4)[-1]


def test_other_versions_and_instances_without_traffic_are_not_looked_at(health, edge):
    edge.states = [
        state("r1-web-0", up=False),
        state("r2-web-0", up=True),
        state("r2-web-1", up=False, weight=0),
    ]
    assert looks(health, 5) == [""] * 5


def test_a_proxy_that_is_being_started_again_says_nothing(clock):
    def servers():
        raise DeploykitError("the runtime socket does not answer")

    health = InstanceHealth(release="r2", ended=lambda: "", servers=servers, clock=clock)
    assert looks(health, 5) == [""] * 5


def test_one_that_ended_by_itself_is_said_at_once(edge):
    health = InstanceHealth(release="r2", ended=lambda: "r2-web-0 ended by itself", servers=lambda: edge.states)
    assert health() == "r2-web-0 ended by itself"
