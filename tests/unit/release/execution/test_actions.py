"""Ending instances: beside one another where the target can, and none of them while one has the traffic."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from deploykit.edge.interface import Mark, Server, ServerState
from deploykit.ledger.interface import Timer
from deploykit.model import DeploykitError
from deploykit.release.execution.actions import RolloutActions
from deploykit.rollout.actions import Action, Kind
from deploykit.targets.interface import InstanceState

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("r1-web-0", "r1-web-1", "r1-web-2")


class Target:
    """Notes what was stopped; where it can do several at once, each waits until all are at it."""

    def __init__(self, *, starts_at_once: bool, broken: str = "") -> None:
        self.starts_at_once = starts_at_once
        self.stopped: list[str] = []
        self._broken = broken
        self._all = threading.Barrier(len(NAMES) if starts_at_once else 1)

    def instance(self, _name: str) -> None:
        return None

    def stop(self, name: str, *, timeout: float) -> None:
        assert timeout == 3.0
        self._all.wait(20)
        if name == self._broken:
            raise DeploykitError(f"{name} does not end")
        self.stopped.append(name)


class Edge:
    """Forgets servers; `before` is done first each time."""

    def __init__(self, weighted: str = "", before: Callable[[], object] = lambda: None) -> None:
        self.known = {name: 100 if name == weighted else 0 for name in NAMES}
        self._before = before

    def running(self) -> bool:
        return True

    def maintenance_since(self) -> None:
        return None

    def servers(self) -> list[ServerState]:
        return [
            ServerState(server=Server(name=name, release="r1", host="h", port=1), weight=weight, up=True, in_flight=0)
            for name, weight in self.known.items()
        ]

    def detach(self, name: str, *, force: bool) -> None:
        assert force
        self._before()
        del self.known[name]


def actions(target: Target, edge: Edge) -> RolloutActions:
    given: dict[str, Any] = {
        "target": target,
        "edge": edge,
        "ledger": SimpleNamespace(timers=list),
        "checks": None,
        "verification": None,
        "version": SimpleNamespace(
            release="r2", spec=SimpleNamespace(stop_timeout=3.0, environment="staging", warm_for=0.0)
        ),
        "instances": {},
    }
    return RolloutActions(**given, earlier=lambda release: pytest.fail(f"{release} is not asked for"), warn=print)


@pytest.mark.parametrize("at_once", [True, False])
def test_all_instances_of_a_version_are_ended(at_once: bool) -> None:
    target, edge = Target(starts_at_once=at_once), Edge()
    actions(target, edge).perform(Action(kind=Kind.RETIRE, name="retire", instances=NAMES))
    assert sorted(target.stopped) == sorted(NAMES)
    assert edge.known == {}


def test_one_that_does_not_end_is_told_when_the_others_have() -> None:
    target = Target(starts_at_once=True, broken="r1-web-0")
    with pytest.raises(DeploykitError, match="r1-web-0 does not end"):
        actions(target, Edge()).perform(Action(kind=Kind.STOP, name="stop", instances=NAMES))
    assert sorted(target.stopped) == ["r1-web-1", "r1-web-2"]


@pytest.mark.parametrize("at_once", [True, False])
def test_while_one_has_the_traffic_none_of_them_is_ended(at_once: bool) -> None:
    target = Target(starts_at_once=at_once)
    with pytest.raises(DeploykitError, match="r1-web-1 still has the traffic"):
        actions(target, Edge(weighted="r1-web-1")).perform(Action(kind=Kind.STOP, name="stop", instances=NAMES))
    assert target.stopped == []


def test_a_retired_version_ends_while_the_edge_forgets_it() -> None:
    """The edge does not forget the first before all have ended: one after the other it would wait for ever."""
    target = Target(starts_at_once=True)
    ended = threading.Event()
    stop = target.stop

    def stopped(name: str, *, timeout: float) -> None:
        stop(name, timeout=timeout)
        if len(target.stopped) == len(NAMES):
            ended.set()

    target.stop = stopped  # type: ignore[method-assign]
    edge = Edge(before=lambda: ended.wait(20) or pytest.fail("they did not end beside it"))
    actions(target, edge).perform(Action(kind=Kind.RETIRE, name="retire", instances=NAMES))
    assert edge.known == {}


def test_a_version_that_can_not_be_forgotten_is_ended_all_the_same() -> None:
    def broken() -> None:
        raise DeploykitError("the edge does not answer")

    target = Target(starts_at_once=True)
    with pytest.raises(DeploykitError, match="the edge does not answer"):
        actions(target, Edge(before=broken)).perform(Action(kind=Kind.RETIRE, name="retire", instances=NAMES))
    assert sorted(target.stopped) == sorted(NAMES)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_version_that_has_the_traffic_again_is_not_retired(at_once: bool) -> None:
    target = Target(starts_at_once=at_once)
    edge = Edge(weighted="r1-web-1")
    with pytest.raises(DeploykitError, match="r1-web-1 still has the traffic"):
        actions(target, edge).perform(Action(kind=Kind.RETIRE, name="retire", instances=NAMES))
    assert target.stopped == []
    assert edge.known["r1-web-1"] == 100


class RestartedEdge:
    """An edge that has lost its servers: its machine was restarted, or its container was removed."""

    def __init__(self) -> None:
        self.weights: dict[str, int] = {}

    def ensure(self) -> str:
        return "http://127.0.0.1:1"

    def servers(self) -> list[ServerState]:
        return [
            ServerState(server=Server(name=name, release="r1", host="h", port=1), weight=weight, up=True, in_flight=0)
            for name, weight in self.weights.items()
        ]

    def attach(self, server: Server) -> None:
        self.weights[server.name] = 0

    def mark(self) -> Mark:
        return Mark({})

    def set_weights(self, weights: dict[str, int]) -> None:
        assert weights.keys() <= self.weights.keys(), "a weight for a server that the edge does not know"
        self.weights |= weights


def test_the_old_version_gets_the_traffic_back_from_an_edge_that_has_lost_it() -> None:
    edge = RestartedEdge()
    instances = {
        name: SimpleNamespace(
            name=name, state=InstanceState.RUNNING, edge_address=("h", 1), labels=SimpleNamespace(release="r1")
        )
        for name in NAMES
    }
    target = SimpleNamespace(instance=instances.get, instances=lambda: list(instances.values()))
    action = Action(kind=Kind.RAISE, name="restore", instances=NAMES, parameters={"weights": dict.fromkeys(NAMES, 100)})
    actions(target, edge).perform(action)  # type: ignore[arg-type]
    assert edge.weights == dict.fromkeys(NAMES, 100)


class Timers:
    """The timers of a ledger."""

    def __init__(self) -> None:
        self.kept: list[Timer] = []

    def timers(self) -> list[Timer]:
        return list(self.kept)

    def add_timer(self, kind: str, release: str, due_at: float, payload: dict[str, Any]) -> None:
        self.kept.append(Timer(id=len(self.kept), kind=kind, release=release, due_at=due_at, payload=payload))

    def remove_timer(self, timer: int) -> None:
        self.kept = [each for each in self.kept if each.id != timer]


def with_timers(target: Any, edge: Any) -> tuple[RolloutActions, Timers]:
    made, timers = actions(target, edge), Timers()
    made.ledger = timers  # type: ignore[assignment]  # has the three methods that are called
    made.clock = lambda: 1_000.0
    return made, timers


def of_release(name: str, release: str, state: InstanceState = InstanceState.RUNNING) -> SimpleNamespace:
    return SimpleNamespace(name=name, state=state, labels=SimpleNamespace(release=release))


def test_an_old_version_of_which_an_instance_has_ended_is_kept_warm_all_the_same() -> None:
    found = {"r1-web-0": of_release("r1-web-0", "r1"), "r1-web-1": of_release("r1-web-1", "r1", InstanceState.EXITED)}
    made, timers = with_timers(SimpleNamespace(instance=found.get), Edge())
    made.perform(Action(kind=Kind.WARM, name="warm", instances=NAMES))
    assert [(each.kind, each.release) for each in timers.kept] == [("warm", "r1")]


def test_what_could_not_be_ended_is_ended_by_a_later_command() -> None:
    class Stuck(Target):
        def instance(self, name: str) -> Any:
            return of_release(name, "r1")

    target = Stuck(starts_at_once=False, broken="r1-web-0")
    made, timers = with_timers(target, Edge())
    made._stop_timeout = lambda _name: 3.0  # type: ignore[method-assign]  # the settings have none
    action = Action(kind=Kind.RETIRE, name="retire", instances=NAMES)
    with pytest.raises(DeploykitError, match="r1-web-0 does not end"):
        made.perform(action)
    assert [(each.kind, each.release, each.due_at, each.payload) for each in timers.kept] == [
        ("retire", "r1", 1_000.0, {"instances": list(NAMES)})
    ]
    target._broken = ""
    made.perform(action)
    assert timers.kept == []
