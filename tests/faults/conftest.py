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
EVERY_CASE = "--every-case"
SLOWEST = ("test_docker_engine.py", "test_docker_kills.py", "test_docker.py", "test_kill.py", "test_cancel.py")
"""Run first, so that what is left at the end is short, and no worker waits long for the other."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(EVERY_CASE, action="store_true", help="kill at every point of every step, not at a sample of them")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"every_case: only with {EVERY_CASE}; by default others stand for it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: SLOWEST.index(item.path.name) if item.path.name in SLOWEST else len(SLOWEST))
    if config.getoption(EVERY_CASE):
        return
    left_out = [item for item in items if item.get_closest_marker("every_case")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


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
def every_case(request: pytest.FixtureRequest) -> bool:
    """Whether all cases are wanted, not a sample of them."""
    return bool(request.config.getoption(EVERY_CASE))


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
    """What a world releases to; test_docker.py says another."""
    return "process"


@pytest.fixture
def tiny(tmp_path: Path, machine: Any, target: str) -> Iterator[Any]:
    """A world with the smallest service, of which nothing was released yet."""
    with machine.world(tmp_path / "tiny", target=target) as made:
        yield made
