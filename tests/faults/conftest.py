"""Fixtures of the fault tests; what they are made of stands in harness.py and driver.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "fixtures")]

COUNTS = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COUNTS] = {}


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """How many cases there were: they are found at run time, so their number is part of the result."""
    counts = config.stash[COUNTS]
    if counts:
        terminalreporter.section("fault cases")
        for name, text in counts.items():
            terminalreporter.write_line(f"{name}: {text}")


@pytest.fixture
def counted(request: pytest.FixtureRequest) -> Any:
    """`counted(text)` puts a line about this test into the summary."""

    def note(text: str) -> None:
        request.config.stash[COUNTS][request.node.name] = text

    return note


@pytest.fixture(scope="session")
def machine() -> Iterator[Any]:
    from harness import Machine, new_state

    made = Machine(new_state())
    yield made
    made.close()


@pytest.fixture
def target() -> str:
    """What a world releases to; test_docker.py says another."""
    return "process"


@pytest.fixture
def tiny(tmp_path: Path, machine: Any, target: str) -> Iterator[Any]:
    """A world with the smallest service, of which nothing was released yet."""
    with machine.world(tmp_path / "tiny", target=target) as made:
        yield made
