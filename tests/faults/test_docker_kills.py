"""A command killed by -9 anywhere where the service runs in containers of a real engine: the cases of test_kill.py."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from docker_images import images  # noqa: F401 - for each test
from test_kill import (  # noqa: F401 - collected here as well
    test_a_first_release_that_was_killed_goes_on_or_leaves_nothing,
    test_a_release_that_was_killed_beside_its_journal_goes_on_or_back,
    test_a_release_that_was_killed_goes_on_or_back,
    test_a_release_that_was_killed_while_it_undid_itself_is_undone,
    test_a_rollback_that_was_killed_is_finished,
    trials,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from test_kill import Case

EVERY = bool(os.environ.get("DK_EVERY_CASE"))
"""Kill at every point of every step. Otherwise each step is met at one of its points, by turns: builds take their time."""


@pytest.fixture
def target() -> str:
    return "docker"


@pytest.fixture
def share() -> Callable[[list[Case]], list[Case]]:
    """Each step once, its points and the ways on by turns."""

    def pick(cases: list[Case]) -> list[Case]:
        if EVERY:
            return cases
        steps: dict[Any, list[Case]] = {}
        for case in cases:
            # Beside the journal it is the calls of the ledger that are counted.
            steps.setdefault(case.plan.get("step", case.plan.get("call")), []).append(case)
        return [of_step[turn * 5 % len(of_step)] for turn, of_step in enumerate(steps.values())]

    return pick
