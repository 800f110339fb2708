"""What the release tests share: the kit installed from its wheel, the kit in this process, and a state folder of
their own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
FIXTURES = ROOT / "tests" / "fixtures"
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Ran:
    """A command that ended, with what it printed on either stream."""

    code: int
    out: str
    err: str

    @property
    def both(self) -> str:
        return self.out + self.err

    @property
    def json(self) -> Any:
        """The one JSON value that standard output holds, and nothing else."""
        return json.loads(self.out)

    def ok(self) -> Ran:
        assert self.code == 0, f"exit {self.code}\n{self.both}"
        return self


def clean_environment(**more: str) -> dict[str, str]:
    """This process's environment without what would decide how the kit behaves."""
    ours = ("DEPLOYKIT_", "NOX", "INVOKE_", "COV_", "PYTEST_", "VIRTUAL_ENV", "PYTHON")
    dropped = {"NO_COLOR", "FORCE_COLOR", "CI", "DATABASE_URL", "GREETING", "BOARD_TOKEN"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours) and name not in dropped}
    return kept | more


@dataclass(frozen=True)
class Kit:
    """The kit as a user has it: installed from the wheel into an environment outside of the checkout."""

    bin: Path
    wheel: Path

    def __call__(
        self, state: Path, repo: Path, *argv: str, timeout: float = 300.0, env: dict[str, str] | None = None
    ) -> Ran:
        """Type a command in a folder: the first word is a program of the environment (`invoke`, `nox`, `deploykit`)."""
        variables = clean_environment(DEPLOYKIT_STATE_DIR=str(state))
        variables["PATH"] = f"{self.bin}{os.pathsep}{variables['PATH']}"
        done = subprocess.run(
            [str(self.bin / argv[0]), *argv[1:]],
            cwd=repo,
            env=variables | (env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def kit(python_with: Any, wheel: Path) -> Kit:
    """The wheel of this tree in a fresh environment."""
    return Kit(bin=python_with("kit", f"{wheel}[local]").parent, wheel=wheel)


@pytest.fixture(scope="session")
def foreign_repo() -> Any:
    """The module `tests/fixtures/foreign_repo.py`, which makes repositories that are not ours."""
    spec = importlib.util.spec_from_file_location("foreign_repo", FIXTURES / "foreign_repo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_state() -> Path:
    """A state folder with a short path: Unix sockets have paths of at most 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="dk-", dir="/tmp"))
    folder.chmod(0o711)
    return folder


def end_state(folder: Path) -> None:
    """End all that a test left running there, and remove the folder."""
    from deploykit.process.supervisor.client import Supervisor

    for supervisor in folder.glob("apps/*/*/supervisor"):
        Supervisor(supervisor).shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Any:
    folder = make_state()
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)
    monkeypatch.setenv("DEPLOYKIT_STATE_DIR", str(folder))
    yield folder
    end_state(folder)


@pytest.fixture(scope="module")
def lasting_state() -> Any:
    """A state folder for all tests of a module."""
    folder = make_state()
    yield folder
    end_state(folder)


@pytest.fixture
def here(state: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """The `deploykit` command in this very process: the same code, without the start of a Python for each case."""

    def run(repo: Path, *argv: str) -> Ran:
        from deploykit.tasks.program import main

        monkeypatch.chdir(repo)
        monkeypatch.setattr(sys, "argv", ["deploykit", *argv])
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 1
        said = capfd.readouterr()
        return Ran(code, said.out, said.err)

    return run


@pytest.fixture
def tiny(tmp_path: Path, foreign_repo: Any) -> Path:
    """A repository with the smallest service there is, one commit, tagged v1.0.0; no tasks.py of its own."""
    repo: Path = foreign_repo.make_tiny(tmp_path / "tiny")
    return repo


@pytest.fixture(scope="session")
def typed() -> Kit:
    """The kit of this very environment through its real command line: a process for each command."""
    return Kit(bin=Path(sys.executable).parent, wheel=Path())


@dataclass(frozen=True)
class Record:
    """What a refused command must leave as it was: releases and their outcomes, the chain's head, and what runs."""

    releases: list[Any]
    head: str
    running: list[Any]


@pytest.fixture(scope="session")
def look() -> Any:
    """Read an app's record and what runs, without the kit's own reading of it; all empty where there is nothing."""

    def look(state: Path, app: str, environment: str = "local") -> Record:
        from deploykit.process.supervisor.client import Supervisor

        file = state / "apps" / app / environment / "ledger.sqlite3"
        if not file.is_file():
            return Record([], "", [])
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            releases = connection.execute("SELECT id, outcome, live_sequence FROM deploykit_releases ORDER BY id")
            head = connection.execute("SELECT hash FROM deploykit_entries ORDER BY sequence DESC LIMIT 1").fetchone()
            programs = Supervisor(file.parent / "supervisor").programs()
            return Record(
                releases=releases.fetchall(),
                head=head[0] if head else "",
                running=sorted((item.name, item.pid) for item in programs if item.alive),
            )

    return look
