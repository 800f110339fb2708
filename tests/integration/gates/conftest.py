"""The real tools, in environments made once for all these tests, on small trees that the tests write."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from deploykit.artifacts.git import tree_of
from deploykit.gates.run import run_gate
from deploykit.gates.tools import managed_tool
from deploykit.process.uv import find_uv

if TYPE_CHECKING:
    from pathlib import Path

PYPROJECT = """\
[project]
name = "shop"
version = "1"

[tool.deploykit]
app = "shop"

[tool.deploykit.coverage]
source = ["shop"]
"""


@pytest.fixture(scope="session")
def gate_environment(once):
    """A cache of these tests' own for the tools' environments; what uv has downloaded is shared."""
    downloads = subprocess.run([find_uv(), "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
    own = {"XDG_CACHE_HOME": str(once("cache", lambda _folder: None)), "UV_CACHE_DIR": downloads}
    own["DEPLOYKIT_STATE_DIR"] = str(once("state", lambda _folder: None))
    return {name: value for name, value in os.environ.items() if not name.startswith("DEPLOYKIT")} | own


@pytest.fixture(autouse=True)
def _state_folder(gate_environment, monkeypatch):
    monkeypatch.setenv("DEPLOYKIT_STATE_DIR", gate_environment["DEPLOYKIT_STATE_DIR"])


@pytest.fixture
def plain_detect_secrets(gate_environment):
    """Run `main` or `pre_commit_hook` of detect-secrets as most people have it: without its extras, of which one adds a
    filter wherever it is installed.
    """
    python = managed_tool("detect-secrets", environment=gate_environment) / "bin" / "python"
    start = (
        "import sys; sys.modules['gibberish_detector'] = None; from detect_secrets.{0} import main; sys.exit(main())"
    )

    def run(root: Path, module: str, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [python, "-c", start.format(module), *words]
        return subprocess.run(argv, cwd=root, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def _shop_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shop") / "shop-repo"


class GatedRepository:
    """A small repository. Its folder is the same for all tests, so that its environment is made once."""

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self.root = root
        self.environment = environment

    def write(self, files: dict[str, str | bytes]) -> None:
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self) -> None:
        git = ["git", "-C", str(self.root), "-c", "user.name=t", "-c", "user.email=t@example.org"]
        if not (self.root / ".git").exists():
            subprocess.run(["git", "init", "-q", str(self.root)], check=True)
        subprocess.run([*git, "add", "-A"], check=True)
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "state"], check=True)

    def tree(self) -> str:
        return tree_of(self.root)

    def gate(self, name: str, **more):
        environment = self.environment | more.pop("environment", {})
        return run_gate(name, self.root, environment=environment, tree=self.tree, **more)


@pytest.fixture
def shop(_shop_folder, gate_environment):
    if _shop_folder.exists():
        shutil.rmtree(_shop_folder)
    _shop_folder.mkdir()
    shop = GatedRepository(_shop_folder, gate_environment)
    shop.write(
        {
            "pyproject.toml": PYPROJECT,
            "shop/__init__.py": '"""A shop."""\n\n\ndef price(cents: int) -> str:\n    return f"{cents / 100:.2f}"\n',
            "tests/test_price.py": (
                'from shop import price\n\n\ndef test_price() -> None:\n    assert price(150) == "1.50"\n'
            ),
            ".gitignore": "__pycache__/\n",
        }
    )
    return shop
