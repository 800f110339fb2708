"""The modules beside the tests are found by their names, and the contract suites beside this folder."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "contracts")]
pytest.register_assert_rewrite("target_contract", "edge_contract", "lease_contract")


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory, where there is one: here processes die, not machines, so nothing waits for a disk."""
    folder = Path(tempfile.mkdtemp(prefix="dk-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    yield folder
    shutil.rmtree(folder)
