"""Which repository a checkout is of."""

from __future__ import annotations

import pytest

from deploykit.artifacts.identity import read_identity, remote_name, with_first_commits
from deploykit.model import RepositoryIdentity


def whole(root):
    return with_first_commits(read_identity(root), root)


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/acme/shop",
        "https://github.com/Acme/Shop.git/",
        "https://ann@github.com/acme/shop.git",
        "https://x-access-token:ghs_secret@github.com/acme/shop",  # pragma: allowlist secret
        "https://ann:p/a@s#s?w@github.com/acme/shop.git",
        "https://github.com/acme/shop.git?private_token=secret",
        "git@github.com:acme/shop.git",
        "github.com:acme/shop",
        "ssh://git@github.com:22/acme/shop.git",
        "ssh://git@ssh.github.com:443/acme/shop.git",
        "git://github.com/acme/shop.git",
        "ann:secret@github.com/acme/shop",
    ],
)
def test_addresses_of_one_repository_have_one_name_without_credentials(url):
    assert remote_name(url) == "github.com/acme/shop"


@pytest.mark.parametrize(
    ("https", "ssh"),
    [
        ("https://acme@dev.azure.com/acme/Web/_git/shop", "git@ssh.dev.azure.com:v3/acme/Web/shop"),
        ("https://git.example.org/scm/web/shop.git", "ssh://git@git.example.org:7999/web/shop.git"),
        ("https://bitbucket.org/acme/shop.git", "ssh://git@altssh.bitbucket.org:443/acme/shop.git"),
    ],
)
def test_hosts_with_other_addresses_for_ssh_are_known(https, ssh):
    assert remote_name(https) == remote_name(ssh) != ""


@pytest.mark.parametrize("path", ["/srv/git/shop.git", "../shop", "file:///srv/git/shop.git", "", "shop.git"])
def test_a_path_names_no_repository(path):
    assert remote_name(path) == ""


def test_two_repositories_differ_and_clones_worktrees_and_moved_checkouts_do_not(repo, tmp_path):
    repo.git("remote", "add", "origin", "https://ann:secret@example.org/acme/shop.git")  # pragma: allowlist secret
    first = whole(repo.root)
    assert (first.remotes, first.folder) == (("example.org/acme/shop",), "")
    assert "secret" not in repr(first)
    repo.git("worktree", "add", "--quiet", str(tmp_path / "tree"))
    repo.git("clone", "--quiet", str(repo.root), str(tmp_path / "clone"))
    assert read_identity(tmp_path / "tree").is_same(first)
    assert read_identity(tmp_path / "clone").remotes == (), "a path is no name"
    assert whole(tmp_path / "clone").is_same(first)
    assert first.is_same(whole(repo.root.rename(tmp_path / "moved")))
    other = RepositoryIdentity(remotes=("example.org/bob/shop",), first_commits=first.first_commits)
    assert other.is_same(first) is False, "a fork, or made from the same template"


def test_a_folder_of_the_repository_is_another_app(repo):
    repo.commit("api/a.txt", "web/a.txt")
    api, web = whole(repo.root / "api"), whole(repo.root / "web")
    assert (api.folder, web.folder) == ("api", "web")
    assert api.is_same(web) is False
    assert "folder api" in str(api)


def test_a_first_commit_that_was_amended_is_the_same_repository(empty_repo):
    empty_repo.commit("a.txt")
    before = whole(empty_repo.root)
    empty_repo.write("a.txt", "another\n")
    empty_repo.git("commit", "--quiet", "--all", "--amend", "--message", "First")
    assert whole(empty_repo.root).is_same(before)


def test_a_shallow_clone_has_its_remote_alone(repo, tmp_path):
    repo.commit("c.txt")
    repo.git("clone", "--quiet", "--depth", "1", f"file://{repo.root}", str(tmp_path / "shallow"))
    shallow = whole(tmp_path / "shallow")
    assert not shallow.is_known
    assert shallow.is_same(whole(repo.root)) is None
    repo.git("remote", "set-url", "origin", "git@example.org:acme/shop.git", cwd=tmp_path / "shallow")
    repo.git("remote", "add", "company", "https://example.org/acme/shop")
    assert whole(tmp_path / "shallow").is_same(whole(repo.root))


def test_of_several_remotes_origin_counts_and_without_it_none(repo):
    repo.git("remote", "add", "template", "https://example.org/templates/service")
    assert read_identity(repo.root).remotes == ("example.org/templates/service",)
    repo.git("remote", "add", "work", "https://example.org/acme/shop")
    assert read_identity(repo.root).remotes == ()
    repo.git("remote", "rename", "work", "origin")
    assert read_identity(repo.root).remotes == ("example.org/acme/shop",)


def test_an_address_that_git_rewrites_has_both_names(repo):
    repo.git("remote", "add", "origin", "work:acme/shop")
    repo.git("config", "url.https://mirror.example.org/.insteadOf", "work:")
    assert read_identity(repo.root).remotes == ("work/acme/shop", "mirror.example.org/acme/shop")


def test_without_git_nothing_is_known(tmp_path):
    found = whole(tmp_path)
    assert not found.is_known
    assert found.place.endswith(f":{tmp_path}")
