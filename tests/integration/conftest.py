"""What the integration tests share: made once for a run, or once for each of xdist's workers."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deploykit.process.uv import find_uv, uv_environment
from tests.shared.postgres import postgres_15, postgres_18

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.shared.postgres import FromWheel, Postgres

ROOT = Path(__file__).resolve().parents[2]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """More workers than cores: much of what is tested here is waiting, for processes, servers and limits."""
    return (3 * (os.cpu_count() or 1) + 1) // 2


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """`once("kit", make)`: a folder that `make` fills for the worker that asks first; the others wait for it and
    share it.
    """
    run = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        run = run.parent

    def shared(name: str, make: Callable[[Path], object]) -> Path:
        folder, made = run / f"once-{name}", run / f"once-{name}.made"
        with (run / f"once-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                made.touch()
        return folder

    return shared


def uv(*words: str | Path) -> None:
    subprocess.run([find_uv(), *words], env=uv_environment(os.environ), check=True, timeout=600)


@pytest.fixture(scope="session")
def wheel(once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The wheel of this tree."""
    (built,) = once("wheel", lambda folder: uv("build", "--wheel", "--quiet", ROOT, "--out-dir", folder)).glob("*.whl")
    return built


@pytest.fixture(scope="session")
def python_with(once: Callable[[str, Callable[[Path], object]], Path]) -> Callable[..., Path]:
    """`python_with("older", "sqlalchemy<2.1", …)`: the Python of an environment, made once and known by its name."""

    def python(name: str, *requirements: str | Path, without_dependencies: str | Path = "") -> Path:
        def make(folder: Path) -> None:
            install = ("pip", "install", "--quiet", "--python", folder)
            uv("venv", "--quiet", "--allow-existing", "--python", sys.executable, folder)
            uv(*install, *requirements)
            if without_dependencies:
                uv(*install, "--no-deps", without_dependencies)

        return once(name, make) / "bin" / "python"

    return python


@pytest.fixture(scope="session")
def server_18() -> Iterator[FromWheel]:
    with postgres_18() as server:
        yield server


@pytest.fixture(scope="session")
def server_15() -> Iterator[Postgres]:
    with postgres_15() as server:
        yield server
