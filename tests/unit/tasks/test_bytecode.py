"""What a command compiles of the kit it keeps, where the kit was installed without bytecode: `pip install -e`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import deploykit

TASKS = """\
import before
from deploykit.tasks import collection

namespace = collection()

import after
from deploykit.tasks.command import command

@command()
def own(_context):
    import deploykit.model.secret

namespace.add_task(own)
"""


@pytest.fixture
def typed(tmp_path):
    """`typed(*words, **variables)` runs invoke with a copy of the kit that has no bytecode; answers what has some
    then.
    """
    kit, repo = tmp_path / "kit", tmp_path / "repo"
    repo.mkdir()
    shutil.copytree(Path(deploykit.__file__).parent, kit / "deploykit", ignore=shutil.ignore_patterns("__pycache__"))
    (repo / "tasks.py").write_text(TASKS)
    for name in ("before.py", "after.py"):
        (repo / name).write_text("")

    def run(*words: str, **variables: str) -> set[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        subprocess.run(
            [sys.executable, "-m", "invoke", *words],
            cwd=repo,
            env={**kept, "PYTHONPATH": str(kit), **variables},
            check=True,
            capture_output=True,
            timeout=60,
        )
        return {
            f"{path.parent.parent.relative_to(tmp_path)}/{path.name.partition('.')[0]}"
            for path in tmp_path.rglob("__pycache__/*.pyc")
        }

    return run


def test_a_command_keeps_the_bytecode_of_the_kit_and_none_of_the_repositorys(typed):
    assert typed("--list") >= {"kit/deploykit/tasks/releases", "kit/deploykit/tasks/command"}
    compiled = typed("own")
    assert "kit/deploykit/model/secret" in compiled
    assert [name for name in compiled if name.startswith("repo")] == []


def test_bytecode_that_the_user_forbids_is_not_written(typed):
    assert typed("own", PYTHONDONTWRITEBYTECODE="1") == set()
