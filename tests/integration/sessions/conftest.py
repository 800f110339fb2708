"""A repo that isn't ours: a noxfile of three lines, its own package, tests and lock, and nox as its developer runs
it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from deploykit.gates.tools import lock_of
from deploykit.process.uv import find_uv

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "noxfile.py": "from deploykit import sessions\n\nsessions.register()\n",
    "pyproject.toml": (
        """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "bakery"
version = "1.0"
dependencies = ["iniconfig"]

[tool.setuptools]
packages = ["bakery"]

[tool.uv]
package = false

[tool.deploykit]
app = "bakery"
"""
    ),
    "bakery/__init__.py": '"""A bakery."""\n\n\ndef loaves(flour: int) -> int:\n    return flour // 500\n',
    "tests/test_loaves.py": (
        "import iniconfig  # noqa: F401\n\nfrom bakery import loaves\n\n\ndef test_loaves() -> None:\n    assert"
        " loaves(1000) == 2\n"
    ),
    ".gitignore": "__pycache__/\n.nox/\n*.egg-info/\n",
}


class Bakery:
    def __init__(self, root: Path, copy: Path) -> None:
        self.root = root
        self.copy = copy

    def write(self, files: dict[str, str]) -> None:
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    def commit(self) -> None:
        git = ["git", "-C", str(self.root), "-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run([*git, "add", "-A"], check=True)
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "state"], check=True)

    def nox(self, *words: str, copy: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run nox with what it prints in one stream, in the order in which it is printed."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("NOX", "DEPLOYKIT", "PYTEST"))}
        given = {"DEPLOYKIT_ADVISORIES": str(self.copy)} if copy else {}
        return subprocess.run(
            [sys.executable, "-m", "nox", *words],
            cwd=self.root,
            env=kept | given | {"NO_COLOR": "1", "DEPLOYKIT_STATE_DIR": str(self.copy.parent / "state")} | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=110,
            check=False,
        )

    def verdict(self, gate: str) -> dict | None:
        """What is recorded of a gate, if it ran."""
        file = self.root / ".deploykit" / "verdicts" / f"{gate}.json"
        return json.loads(file.read_text()) if file.exists() else None


@pytest.fixture(scope="module")
def bakery(tmp_path_factory):
    """One repo for a module: its sessions' environments are made once, as on a developer's machine."""
    root = tmp_path_factory.mktemp("bakery")
    copy = tmp_path_factory.mktemp("advisories") / "copy.jsonl"
    affected = {
        "package": {"name": "iniconfig", "ecosystem": "PyPI"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "0.1"}]}],
    }
    modified = datetime.fromtimestamp(time.time() - 86_400, UTC).isoformat()
    copy.write_text(json.dumps({"id": "PYSEC-1", "modified": modified, "affected": [affected]}))
    bakery = Bakery(root, copy)
    entry = re.search(r"^iniconfig==(?:.*\\\n)*.*\n", lock_of("pytest").read_text(), re.MULTILINE)
    assert entry
    assert find_uv()
    bakery.write({**FILES, "requirements.txt": entry[0]})
    subprocess.run(["git", "init", "-q", root], check=True)
    bakery.commit()
    return bakery
