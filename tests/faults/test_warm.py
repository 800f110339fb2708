"""The version before is kept warm for its window; what is due is done first by every command, and by `reap`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from harness import Load, eventually

if TYPE_CHECKING:
    from harness import ReleasedService

WINDOW = 1.0


def running(released: ReleasedService) -> list[str]:
    return sorted(item["name"] for item in released.instances() if item["state"] == "running")


@pytest.fixture
def over(tiny: ReleasedService) -> ReleasedService:
    """Two releases; the warm window of the first has just run out, and nobody has done anything about it."""
    tiny.settings(warm_for=WINDOW)
    tiny.release("one")
    tiny.release("two")
    assert running(tiny) == ["r1-web-0", "r2-web-0"]
    until = tiny.status()["warm_until"]
    eventually(lambda: time.time() > until)
    assert running(tiny) == ["r1-web-0", "r2-web-0"], "there is no hidden daemon"
    return tiny


def test_reap_ends_a_version_whose_window_is_over(over: ReleasedService) -> None:
    with Load(over.url) as load:
        ran = over.ok("reap")
        load.next_answers()
    load.assert_nothing_lost()
    assert "r1: its warm window is over, it was stopped" in ran.output
    assert running(over) == ["r2-web-0"]
    assert "nothing is due" in over.ok("reap").output
    assert over.serves(over.url) == "two"
    assert over.problems() == []


def test_reap_spares_a_version_whose_window_is_not_over(tiny: ReleasedService) -> None:
    tiny.settings(warm_for=600)
    tiny.release("one")
    tiny.release("two")
    assert "nothing is due" in tiny.ok("reap").output
    assert running(tiny) == ["r1-web-0", "r2-web-0"]


def test_the_next_release_ends_it_first_even_when_it_fails(over: ReleasedService) -> None:
    over.behave("three", CRASH=True)
    assert over("release").returncode == 1
    assert running(over) == ["r2-web-0"]
    assert over.problems() == []


def test_the_next_rollback_ends_it_first_and_starts_it_again_from_its_artefact(over: ReleasedService) -> None:
    with Load(over.url) as load:
        over.ok("rollback")
        load.next_answers()
    load.assert_nothing_lost()
    assert over.serves(over.url) == "one"
    assert [item["name"] for item in over.instances() if item["role"] == "live"] == ["r1-web-0"]
    assert over.problems() == []


def test_a_version_that_got_the_traffic_back_is_not_ended_by_its_old_window(tiny: ReleasedService) -> None:
    tiny.settings(warm_for=WINDOW)
    tiny.release("one")
    tiny.release("two")
    tiny.ok("rollback")
    until = tiny.status()["warm_until"]
    eventually(lambda: time.time() > until + 0.1)
    tiny.ok("reap")
    assert running(tiny) == ["r1-web-0"]
    assert tiny.serves(tiny.url) == "one"
    assert tiny.problems() == []
