"""A command killed by -9 anywhere where the service runs in containers of a real engine: the cases of test_kill.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from docker_images import images  # noqa: F401 - for each test
from test_kill import (  # noqa: F401 - collected here as well
    Case,
    one_of_each_step,
    test_a_first_release_that_was_killed_goes_on_or_leaves_nothing,
    test_a_release_that_was_killed_beside_its_journal_goes_on_or_back,
    test_a_release_that_was_killed_goes_on_or_back,
    test_a_release_that_was_killed_while_it_undid_itself_is_undone,
    test_a_rollback_that_was_killed_is_finished,
    trials,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def share(every_case: bool) -> Callable[[list[Case]], list[Case]]:
    """By default every third step: all of them are met on the machine's own processes."""
    return list if every_case else lambda cases: one_of_each_step(cases)[::3]


@pytest.fixture
def target() -> str:
    return "docker"
