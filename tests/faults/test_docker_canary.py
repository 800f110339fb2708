"""A canary whose release was killed, where the edge is HAProxy in containers: the container that holds the port keeps the
lease.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from docker_images import images  # noqa: F401 - for each test
from test_canary_lease import killed, resumed, rolled_back

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import ReleasedService


@pytest.fixture
def target() -> str:
    return "docker"


@pytest.mark.parametrize("then", [rolled_back, pytest.param(resumed, marks=pytest.mark.every_case)])
def test_a_canary_whose_release_was_killed_gives_its_users_back(
    tiny: ReleasedService, then: Callable[[ReleasedService], None]
) -> None:
    killed(tiny, then)
