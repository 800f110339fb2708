"""What git says decides on the tags; the repositories are real."""

from __future__ import annotations

from deploykit.artifacts.git import read_tree
from deploykit.artifacts.image.build import source_url
from deploykit.artifacts.image.plan import recipe_of, tags_of
from deploykit.settings.loader import load


def names(repo, **options) -> tuple[str, ...]:
    return tags_of(read_tree(repo.root), **options).names


def test_a_tag_on_the_main_branch_is_latest(repo):
    repo.git("tag", "v1.2.3")
    assert names(repo, short=True)[1:] == ("v1.2.3", "1.2", "1", "latest")


def test_the_same_commit_on_another_branch_is_not(repo):
    repo.git("tag", "v1.2.3")
    repo.git("checkout", "--quiet", "-b", "hotfix")
    assert "latest" not in names(repo)


def test_a_detached_head_counts_when_the_main_branch_contains_it(repo):
    repo.git("tag", "v1.2.3")
    repo.git("checkout", "--quiet", "--detach")
    assert "latest" in names(repo)
    repo.git("branch", "--move", "main", "other")
    assert "latest" not in names(repo)
    repo.git("update-ref", "refs/remotes/origin/main", "HEAD")
    assert "latest" in names(repo)


def test_a_newer_version_elsewhere_keeps_latest(repo):
    first = repo.git("rev-parse", "HEAD")
    repo.git("tag", "v1.2.3")
    repo.commit("later.txt")
    repo.git("tag", "v1.3.0")
    repo.git("tag", "nightly")
    repo.git("checkout", "--quiet", "--detach", first)
    assert names(repo, short=True)[1:] == ("v1.2.3", "1.2")


def test_a_dirty_tree_names_its_snapshot(repo):
    repo.write("new.txt", "new\n")
    tree = read_tree(repo.root)
    assert names(repo)[0] == f"sha-{tree.commit[:7]}-{tree.tree[:8]}"


def test_the_address_of_the_repository_is_told_without_its_password(repo):
    assert source_url(repo.root) == ""
    for address, told in {
        "https://robin:word@git.example.org/shop.git?x=1": "https://git.example.org/shop.git",  # pragma: allowlist secret
        "http://git.example.org/shop": "https://git.example.org/shop",
        "git@git.example.org:team/shop.git": "git@git.example.org:team/shop.git",
        "/srv/git/shop.git": "",
    }.items():
        repo.git("config", "remote.origin.url", address)
        assert source_url(repo.root) == told


def test_the_settings_become_a_recipe(repo):
    repo.write(
        "pyproject.toml",
        '[tool.deploykit]\napp = "shop"\n[tool.deploykit.service]\ncommand = "shop --name \'a b\' --port {port}"\n'
        '[tool.deploykit.image]\nbase = "python:3.13-slim"\nport = 9000\narguments = { COLOUR = "red" }\n',
    )
    recipe = recipe_of(load(repo.root).settings)
    assert recipe.argv == ("shop", "--name", "a b", "--port", "{port}")
    assert (recipe.app, recipe.base, recipe.port, recipe.arguments) == (
        "shop",
        "python:3.13-slim",
        9000,
        {"COLOUR": "red"},
    )
