"""A git repository of a test, and git without the settings of whoever runs the tests."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Repo:
    """A git repository of a test, with git's answers at hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def git(self, *words: str, cwd: Path | None = None) -> str:
        return subprocess.run(
            ["git", *words], cwd=cwd or self.root, check=True, capture_output=True, text=True, timeout=30
        ).stdout.strip()

    def write(self, name: str, text: str = "x\n") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def commit(self, *names: str) -> str:
        for name in names:
            self.write(name, f"{name}\n")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "A change")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def clean_git(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_COUNT": "3",
        "GIT_CONFIG_KEY_0": "user.name",
        "GIT_CONFIG_VALUE_0": "A Tester",
        "GIT_CONFIG_KEY_1": "user.email",
        "GIT_CONFIG_VALUE_1": "tester@example.org",
        "GIT_CONFIG_KEY_2": "protocol.file.allow",
        "GIT_CONFIG_VALUE_2": "always",
    }.items():
        monkeypatch.setenv(name, value)
    return


@pytest.fixture
def empty_repo(tmp_path: Path, clean_git: None) -> Repo:
    repo = Repo(tmp_path / "repo")
    repo.git("init", "--quiet", "--initial-branch", "main")
    return repo


@pytest.fixture
def repo(empty_repo: Repo) -> Repo:
    empty_repo.commit("a.txt", "sub/b.txt")
    return empty_repo
