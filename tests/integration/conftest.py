"""What the integration tests share: made once for a run, or once for each of xdist's workers."""

from __future__ import annotations

import fcntl
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.shared.postgres import postgres_15, postgres_18

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.shared.postgres import FromWheel, Postgres


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """`once("kit", make)`: a folder that `make` fills for the worker that asks first; the others wait for it and share it."""
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


@pytest.fixture(scope="session")
def server_18() -> Iterator[FromWheel]:
    with postgres_18() as server:
        yield server


@pytest.fixture(scope="session")
def server_15() -> Iterator[Postgres]:
    with postgres_15() as server:
        yield server
