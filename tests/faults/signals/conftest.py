"""`--signals N`: how many commands get a signal, in batches of 50, each with a released service of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

BATCH = 50


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--signals", type=int, default=2_000, metavar="N", help="commands that get a signal (2000)")
    parser.addoption("--seed", type=int, default=0, metavar="N", help="of the first batch; the next ones count up (0)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    wanted, first = metafunc.config.getoption("signals"), metafunc.config.getoption("seed")
    sizes = [min(BATCH, wanted - done) for done in range(0, wanted, BATCH)]
    metafunc.parametrize(("seed", "count"), [(first + number, size) for number, size in enumerate(sizes)])
