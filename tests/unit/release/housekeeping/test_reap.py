"""What is due: the instances that a timer names are ended, and no others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from deploykit.release.housekeeping.reap import reap


def instance(name: str, release: str) -> Any:
    return SimpleNamespace(name=name, process="web", labels=SimpleNamespace(release=release))


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
