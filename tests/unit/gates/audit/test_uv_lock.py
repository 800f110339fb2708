"""A `uv.lock` that was made for another pyproject.toml is refused. uv is real, and has no network."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace

import pytest

from deploykit.gates.audit.gate import AuditGate
from deploykit.gates.audit.uv import require_current
from deploykit.model import InconclusiveError, UsageError
from deploykit.process.uv import find_uv

PROJECT = '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\n'


@pytest.fixture
def locked(context, tmp_path):
    """The context in a tree with a lock that fits."""
    environment = {**os.environ, "UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "cache")}
    (context.root / "pyproject.toml").write_text(PROJECT)
    subprocess.run([find_uv(), "lock", "-q"], cwd=context.root, env=environment, check=True, timeout=60)
    return replace(context, environment=environment)


def test_a_lock_that_fits_is_taken_and_left_as_it_is(locked):
    path = locked.root / "uv.lock"
    before = path.read_bytes()
    require_current(path, locked)
    assert path.read_bytes() == before


@pytest.mark.parametrize("change", ['name = "shopping"', 'version = "2"'])
def test_a_lock_from_before_a_change_is_refused(locked, change):
    key = change.partition(" ")[0]
    lines = [change if line.startswith(f"{key} ") else line for line in PROJECT.splitlines()]
    (locked.root / "pyproject.toml").write_text("\n".join(lines))
    with pytest.raises(UsageError, match=r"uv\.lock does not have what pyproject\.toml asks for") as refused:
        AuditGate().run(locked)
    assert refused.value.next_step == "uv lock"


def test_what_uv_can_not_say_without_an_index_is_inconclusive(locked):
    (locked.root / "pyproject.toml").write_text(PROJECT + 'dependencies = ["flask"]\n')
    with pytest.raises(InconclusiveError, match=r"uv can't say whether uv\.lock has what") as caught:
        AuditGate().run(locked)
    assert caught.value.next_step.startswith("uv lock --check")
