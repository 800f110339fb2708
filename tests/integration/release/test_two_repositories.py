"""Two repositories with one name, and one repository in several checkouts."""

from __future__ import annotations

import shutil

import pytest

LOCAL = ("--env", "local")


@pytest.fixture
def other(tmp_path, foreign_repo):
    """Another repository whose project has the same name."""
    return foreign_repo.make_tiny(tmp_path / "other", variables={"VERSION_TEXT": "other"})


def test_another_repository_of_that_name_is_refused_by_every_command(here, tiny, other, state, look, foreign_repo):
    remote = "https://ann:secret@example.org/other/tiny.git"  # pragma: allowlist secret
    foreign_repo.git(other, "remote", "add", "origin", remote)
    here(tiny, "release", *LOCAL).ok()
    before = look(state, "tiny")
    commands = ("release", "rollback", "status", "verify", "down", "reap", "ledger.adopt")
    more = (("lock", *LOCAL, "--reason", "x"), ("release", *LOCAL, "--plan"), ("exec", *LOCAL, "--", "true"))
    for words in (*[(name, *LOCAL) for name in commands], *more):
        ran = here(other, *words)
        assert ran.code == 3, (words, ran.both)
        said = " ".join(ran.both.split())
        assert "tiny in local belongs to another repository" in said
        assert f"{tiny} (first commit" in said
        assert "this one is example.org/other/tiny" in said
        assert 'app = "tiny-2" under [tool.deploykit]' in said
        assert "secret" not in ran.both
    assert look(state, "tiny") == before
    assert b"secret" not in b"".join(path.read_bytes() for path in state.glob("apps/*/*/*") if path.is_file())
    (other / "pyproject.toml").write_text(
        (other / "pyproject.toml").read_text().replace('app = "tiny"', 'app = "tiny-2"')
    )
    assert here(other, "status", *LOCAL).ok().out.startswith("tiny-2 in local")


def test_clones_worktrees_and_moved_checkouts_are_one_app_and_a_claim_adds_another(
    here, tiny, other, tmp_path, foreign_repo
):
    here(tiny, "release", *LOCAL).ok()
    foreign_repo.git(tiny, "worktree", "add", "--quiet", str(tmp_path / "tree"))
    foreign_repo.git(tmp_path, "clone", "--quiet", str(tiny), str(tmp_path / "clone"))
    for checkout in (tmp_path / "tree", tmp_path / "clone", tmp_path / "moved"):
        if checkout.name == "moved":
            tiny.rename(checkout)
        assert "1.0.0 (r1)" in here(checkout, "status", *LOCAL).ok().out
    assert here(other, "status", *LOCAL).code == 3
    assert "tiny in local is released from here, too" in here(other, "ledger.claim", *LOCAL).ok().out
    assert "1.0.0 (r1)" in here(other, "status", *LOCAL).ok().out
    assert "the ledger holds" in here(other, "history", *LOCAL, "--check").ok().out


def test_a_copy_without_git_is_refused_with_what_git_says_unless_it_was_released_from_there(
    here, tiny, tmp_path, foreign_repo
):
    here(tiny, "release", *LOCAL).ok()
    copy = shutil.copytree(tiny, tmp_path / "copy", ignore=shutil.ignore_patterns(".git"))
    refused = here(copy, "down", *LOCAL)
    assert refused.code == 3
    said = " ".join(refused.err.split())
    assert "it can't be told whether tiny in local belongs to this repository" in said
    assert "copy is not in a git repository" in said
    assert "--app tiny names it without comparing" in said
    assert "1.0.0 (r1)" in here(copy, "status", *LOCAL, "--app", "tiny").ok().out
    shutil.rmtree(tiny / ".git")
    assert "1.0.0 (r1)" in here(tiny, "status", *LOCAL).ok().out
