"""The copy of what is staged, which the hooks before a commit judge."""

from __future__ import annotations

import pytest

from deploykit.artifacts.staged import write_staged
from tests.shared.repositories import clean_git, empty_repo, repo

__all__ = ["clean_git", "empty_repo", "repo"]

CONTENT = "one\ntwo\n"


@pytest.fixture
def staged(repo):
    repo.write("sub/a.txt", CONTENT)
    repo.git("add", "sub/a.txt")
    return repo


def test_it_has_the_bytes_of_the_index_whatever_the_users_settings_are(staged, tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".gitconfig").write_text("[core]\nautocrlf = true\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    copy = write_staged(staged.root, tmp_path / "store")
    assert (copy / "sub" / "a.txt").read_bytes() == CONTENT.encode()


def test_what_somebody_else_wrote_into_the_copy_is_written_anew(staged, tmp_path):
    copy = write_staged(staged.root, tmp_path / "store")
    (copy / "sub" / "a.txt").unlink()
    (copy / "sub" / "a.txt").mkdir()
    staged.write("sub/b.txt", CONTENT)
    staged.git("add", "sub/b.txt")
    copy = write_staged(staged.root, tmp_path / "store")
    assert [(copy / "sub" / name).read_text() for name in ("a.txt", "b.txt")] == [CONTENT, CONTENT]


@pytest.mark.parametrize("index", [".git/index", "absolute"])
def test_the_index_of_a_hook_is_named_from_the_top_of_the_repository(staged, tmp_path, monkeypatch, index):
    monkeypatch.setenv("GIT_INDEX_FILE", str(staged.root / ".git" / "index") if index == "absolute" else index)
    copy = write_staged(staged.root / "sub", tmp_path / "store")
    assert (copy.name, (copy / "a.txt").read_text()) == ("sub", CONTENT)
