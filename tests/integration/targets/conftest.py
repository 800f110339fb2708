"""The contract suite is found beside this folder; state stands in a short folder of its own."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from deploykit.process.supervisor.client import Supervisor
from deploykit.settings.paths import StatePaths

sys.path.insert(0, str(Path(__file__).parents[1] / "contracts"))
pytest.register_assert_rewrite("target_contract", "foreground_contract")


@pytest.fixture
def paths():
    """A short path: Unix sockets have at most 107 bytes."""
    home = Path(tempfile.mkdtemp(prefix="dk-", dir="/tmp"))
    yield StatePaths(home, "shop", "test")
    shutil.rmtree(home)


@pytest.fixture
def supervisor(paths):
    one = Supervisor(paths.supervisor)
    yield one
    one.shutdown()
    log = paths.supervisor / "daemon.log"
    assert not log.exists() or log.read_text() == ""
