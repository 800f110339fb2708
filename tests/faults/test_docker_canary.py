"""A canary whose release was killed, where the edge is HAProxy in containers: the container that holds the port keeps the
lease.
"""

from __future__ import annotations

from typing import Any

import pytest
from docker_images import images  # noqa: F401 - for each test
from test_canary_lease import (  # noqa: F401 - collected here as well
    resumed,
    rolled_back,
    test_a_canary_whose_release_was_killed_gives_its_users_back,
)


@pytest.fixture
def target() -> str:
    return "docker"


@pytest.fixture(params=[rolled_back, pytest.param(resumed, marks=pytest.mark.every_case)])
def then(request: pytest.FixtureRequest) -> Any:
    """The other way than by default on the machine's own processes."""
    return request.param
