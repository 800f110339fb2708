"""The modules beside the test are found by their names."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory, where there is one: nothing waits for a disk. Its short path suits sockets."""
    folder = Path(tempfile.mkdtemp(prefix="dk-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    yield folder
    shutil.rmtree(folder)
