"""A toolbox of scripts: each tool prints what a test says and answers what a test says."""

from __future__ import annotations

import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploykit.gates.interface import GateContext

NOW = 1_800_000_000.0


@pytest.fixture(autouse=True)
def state_folder(tmp_path_factory, monkeypatch):
    """Where the key of seals is."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("DEPLOYKIT_STATE_DIR", str(folder))
    return folder


@dataclass
class ScriptedToolbox:
    """Every tool is one script; `says` maps a word of its command line to (standard output, exit code[, standard
    error]).
    """

    folder: Path
    says: dict[str, tuple[str, int] | tuple[str, int, str]] = field(default_factory=dict)
    missing: bool = False

    def _script(self) -> str:
        script = self.folder / "tool"
        # -I -S: these scripts start hundreds of times, and are no part of what is tested or measured.
        script.write_text(
            f"#!{sys.executable} -IS\n"
            "import os, sys\n"
            f"for word, (text, code, *noise) in {self.says!r}.items():\n"
            "    if word in sys.argv or word == '*':\n"
            "        print(*noise, file=sys.stderr)\n"
            "        print(text, end='', flush=True)\n"
            "        if code < 0:\n"
            "            os.kill(os.getpid(), -code)\n"
            "        sys.exit(code)\n"
            "sys.exit(97)\n",
            encoding="utf-8",
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return str(self.folder / "nowhere" / "tool") if self.missing else str(script)

    def tool(self, name):
        return [self._script()]

    def tool_python(self, name):
        return Path(self._script())

    def python(self):
        return Path(self._script())

    def application_python(self):
        return Path(self._script())


@pytest.fixture
def toolbox(tmp_path_factory):
    return ScriptedToolbox(tmp_path_factory.mktemp("tools"))


@pytest.fixture
def tree(tmp_path):
    """A git repository with one module and one test, nothing committed yet."""
    root = tmp_path / "tree"
    (root / "tests").mkdir(parents=True)
    (root / "app.py").write_text("VALUE = 1\n")
    (root / "tests" / "test_app.py").write_text("def test_value():\n    assert True\n")
    subprocess.run(["git", "init", "-q", "--template=", root], check=True)
    return root


@pytest.fixture
def context(tree, toolbox):
    import os

    environment = {name: value for name, value in os.environ.items() if not name.startswith("DEPLOYKIT")}
    return GateContext(root=tree, toolbox=toolbox, environment=environment, clock=lambda: NOW, tree="f" * 40)
