"""The published port of a first release that was killed while its edge came up: nobody is left waiting behind it.

The holder's container publishes the port before a proxy takes connections from it. Killed in between, the port lets
everyone connect and answers nobody; whatever is typed next ends that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from docker_images import images  # noqa: F401 - for each test
from harness import ReleasedService, docker_engine, get

if TYPE_CHECKING:
    from collections.abc import Sequence

HOLDER_ALONE = "deploykit.edge.docker.containers:EdgeContainers.start_proxy"
PROXY_STARTED = "deploykit.edge.docker.agent:AgentRuntime.node"
ROLLBACK, DOWN, PLAIN, RESUME = ("rollback",), ("down",), ("release",), ("release", "--resume")
SECONDS = 3.0


@pytest.fixture
def target() -> str:
    return "docker"


def answer(released: ReleasedService) -> str:
    """What a user gets within SECONDS: the service's text, "refused" or "waits"."""
    try:
        return get(released.url, timeout=SECONDS)
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "waits"


@pytest.mark.parametrize(
    ("where", "way", "expected"),
    [
        (HOLDER_ALONE, ROLLBACK, "refused"),
        (HOLDER_ALONE, DOWN, "refused"),
        (HOLDER_ALONE, RESUME, "alpha"),
        (PROXY_STARTED, PLAIN, "alpha"),
    ],
    ids=["rollback", "down", "resume", "release"],
)
def test_a_first_release_killed_while_its_edge_starts_leaves_nobody_waiting(
    tiny: ReleasedService, where: str, way: Sequence[str], expected: str
) -> None:
    tiny.behave("alpha")
    killed = tiny("release", pauses=[{"where": where, "seconds": 60}], signal={"how": "SIGKILL"})
    assert killed.returncode == -9, killed.output
    if where == HOLDER_ALONE:
        assert answer(tiny) == "waits", "the port was to be held, and nobody to answer"
    tiny.ok(*way)
    assert answer(tiny) == expected
    left = docker_engine().containers({"deploykit.app": tiny.app, "deploykit.kind": "edge"})
    assert bool(left) is (expected == "alpha")
