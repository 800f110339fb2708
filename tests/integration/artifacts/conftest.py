from __future__ import annotations

import hashlib
import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deploykit.artifacts.files import remove
from deploykit.artifacts.git import read_tree
from deploykit.artifacts.local import BuildStep, build_local
from tests.shared.repositories import Repo, clean_git, empty_repo, repo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deploykit.artifacts.artifact import Artifact


__all__ = ["build", "clean_git", "empty_repo", "repo", "shop", "store"]

BACKEND = """
import base64, hashlib, os, re, zipfile
from pathlib import Path

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    if os.environ.get("TEST_BACKEND_WAITS"):
        print("building", file=open(os.environ["TEST_BACKEND_WAITS"] + ".started", "w"))
        open(os.environ["TEST_BACKEND_WAITS"]).read()
    if Path("fail").exists():
        raise SystemExit("the backend says why it failed")
    version = os.environ["SETUPTOOLS_SCM_PRETEND_VERSION"]
    Path("shop", "_version.py").write_text(f"version = {version!r}\\n")
    name = f"shop-{version}-py3-none-any.whl"
    info = f"shop-{version}.dist-info"
    files = {path.as_posix(): path.read_bytes() for path in sorted(Path("shop").rglob("*.py"))}
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\\nName: shop\\nVersion: {version}\\n".encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    files[f"{info}/entry_points.txt"] = b"[console_scripts]\\nshop = shop:main\\n"
    files[f"{info}/RECORD"] = "".join(f"{file},,\\n" for file in [*files, f"{info}/RECORD"]).encode()
    with zipfile.ZipFile(Path(wheel_directory, name), "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)
    return name
"""
"""A build backend of a few lines that needs nothing installed, writes a version file, and can wait or fail."""


def make_wheel(folder: Path, name: str, version: str, source: str) -> str:
    """A wheel with one module, in a folder that pip calls `--find-links`; returns its SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            archive.writestr(zipfile.ZipInfo(file), content)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def store() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="dk-", dir="/tmp"))
    # Hidden, as `~/.local/state` is.
    yield folder / ".state" / "artifacts"
    remove(folder)


@pytest.fixture
def shop(repo: Repo) -> Repo:
    """A package, with a command and one dependency that is locked by hash and lies in the repository."""
    digest = make_wheel(repo.root / "wheels", "prices", "1.0", "PRICE = 7\n")
    repo.write("requirements.lock", f"--no-index\n--find-links wheels\nprices==1.0 --hash=sha256:{digest}\n")
    repo.write(
        "pyproject.toml",
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["build_support"]\n'
        '[project]\nname = "shop"\ndynamic = ["version"]\ndependencies = ["prices"]\n',
    )
    repo.write("build_support/backend.py", BACKEND)
    repo.write(
        "shop/__init__.py",
        "from pathlib import Path\nimport prices\nfrom shop._version import version\n"
        "def main() -> None:\n    print(version, prices.PRICE, Path('settings.ini').read_text().strip())\n",
    )
    repo.write("settings.ini", "first\n")
    repo.write(".gitignore", ".env.*\n_version.py\n__pycache__/\n")
    repo.commit()
    return repo


@pytest.fixture
def build(store: Path) -> Callable[..., Artifact]:
    """Read the tree of a repository and build it; `steps`, a list, gets the steps."""

    def built(
        repo: Repo, *, root: Path | None = None, steps: list[BuildStep] | None = None, **options: str
    ) -> Artifact:
        root = root or repo.root
        on_step = steps.append if steps is not None else lambda _: None
        return build_local(root, read_tree(root), store=store, on_step=on_step, **options)

    return built


def run_in(artifact: Artifact, *words: str) -> str:
    """What a command of the artefact prints, started as a release starts it."""
    program = artifact.program(words[0])
    assert program is not None
    return subprocess.run(
        [program, *words[1:]],
        cwd=artifact.tree,
        env=artifact.variables(),
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    ).stdout.strip()


@pytest.fixture(name="run_in")
def _run_in() -> Callable[..., str]:
    return run_in


@pytest.fixture(name="make_wheel")
def _make_wheel() -> Callable[..., str]:
    return make_wheel
