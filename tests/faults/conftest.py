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

CASES = "fault cases"
SLOWEST = (
    *("test_docker_engine.py", "test_docker_kills.py", "test_docker.py", "test_docker_canary.py"),
    *("test_kill.py", "test_cancel.py", "test_kill_strategies.py"),
)
"""Run first, so that what is left at the end is short, and no worker waits long for the other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: SLOWEST.index(item.path.name) if item.path.name in SLOWEST else len(SLOWEST))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How many cases there were: they are found at run time, so their number is part of the result."""
    counts = {
        report.nodeid.rpartition("::")[2]: text
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, text in getattr(report, "user_properties", ())
        if name == CASES
    }
    if counts:
        terminalreporter.section("fault cases")
        for name, text in counts.items():
            terminalreporter.write_line(f"{name}: {text}")


@pytest.fixture
def counted(request: pytest.FixtureRequest) -> Any:
    """`counted(text)` puts a line about this test into the summary."""

    def note(text: str) -> None:
        request.node.user_properties.append((CASES, text))

    return note


@pytest.fixture(scope="session")
def machine() -> Iterator[Any]:
    from harness import Machine, new_state

    made = Machine(new_state())
    yield made
    made.close()


@pytest.fixture
def target() -> str:
    """The target of `tiny`; test_docker.py has another."""
    return "process"


@pytest.fixture
def tiny(tmp_path: Path, machine: Any, target: str) -> Iterator[Any]:
    """The smallest service. Nothing of it is released yet."""
    with machine.service(tmp_path / "tiny", target=target) as made:
        yield made
