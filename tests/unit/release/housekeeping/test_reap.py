"""What is due: the instances that a timer names are ended, and no others."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from deploykit.release.housekeeping.down import take_down
from deploykit.release.housekeeping.reap import reap
from deploykit.release.version.spec import ProcessSpec


def instance(name: str, release: str, process: str = "web") -> Any:
    labels = SimpleNamespace(release=release, version="1.0")
    return SimpleNamespace(name=name, process=process, labels=labels)


@pytest.fixture
def stopped(environment: Any) -> list[str]:
    """The names of the instances that were stopped; r1 runs a service that is warm, and a worker."""
    found: list[str] = []
    running = [instance("r1-web-0", "r1"), instance("r1-mail-0", "r1"), instance("r2-web-0", "r2")]
    environment.target = SimpleNamespace(instances=lambda: running, stop=lambda name, timeout: found.append(name))
    return found


@pytest.mark.parametrize(
    ("kind", "told"),
    [("retire", "r1: what could not be ended was stopped"), ("warm", "r1: its warm window is over, it was stopped")],
)
def test_only_the_instances_that_the_timer_names_are_ended(
    environment: Any, stopped: list[str], kind: str, told: str
) -> None:
    environment.ledger.add_timer(kind, "r1", 10.0, {"instances": ["r1-mail-0"]})
    assert reap(environment, clock=lambda: 9.0).done == ()
    assert reap(environment, clock=lambda: 11.0).done == (told,)
    assert stopped == ["r1-mail-0"]
    assert environment.ledger.timers() == []


@pytest.fixture
def timeouts(environment: Any, released: Any, spec: Any) -> dict[str, float]:
    """The seconds that each instance was given to stop. r1 had a process that r2 names otherwise; r9 is nobody's."""
    mail = ProcessSpec(name="mail", argv=("mail",), replicas=1, settle=1.0, stop_timeout=70.0)
    released("1.0", spec=replace(spec, stop_timeout=4.0, processes=(mail,)).as_json())
    released("2.0", spec=replace(spec, stop_timeout=5.0).as_json())
    running = [instance("r1-web-0", "r1"), instance("r1-mail-0", "r1", "mail"), instance("r2-web-0", "r2")]
    running += [instance("r2-mail-0", "r2", "mail"), instance("r9-web-0", "r9")]
    found: dict[str, float] = {}
    environment.target = SimpleNamespace(
        instances=lambda: running,
        stop=lambda name, timeout: found.update({name: timeout}),
        lock=lambda *_, **__: None,
        unlock=lambda *_, **__: None,
        lock_holder=lambda: None,
        remove_lock=lambda: None,
        down=lambda: None,
    )
    return found


def test_what_is_due_gets_the_time_to_stop_that_its_own_release_gives_it(
    environment: Any, timeouts: dict[str, float]
) -> None:
    environment.ledger.add_timer("warm", "r1", 10.0, {"instances": ["r1-web-0", "r1-mail-0"]})
    reap(environment, clock=lambda: 11.0)
    assert timeouts == {"r1-web-0": 4.0, "r1-mail-0": 70.0}


def test_down_gives_each_instance_the_time_to_stop_of_its_own_release(
    environment: Any, timeouts: dict[str, float]
) -> None:
    environment.edge.down = lambda: None
    environment.hosting.kind = "docker"
    take_down(environment, discard_data=True)
    assert timeouts == {
        "r1-web-0": 4.0,
        "r1-mail-0": 70.0,
        "r2-web-0": 5.0,
        "r2-mail-0": 5.0,
        "r9-web-0": 10.0,
    }


@pytest.mark.parametrize("named", [5, "r1-web-0", {"r1-web-0": 1}, [5, ["r1-web-0"]], None])
def test_a_timer_of_another_shape_ends_nothing(environment: Any, stopped: list[str], named: Any) -> None:
    environment.ledger.add_timer("warm", "r1", 10.0, {"instances": named})
    assert reap(environment, clock=lambda: 11.0).problems == ()
    assert stopped == []
