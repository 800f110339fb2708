from __future__ import annotations

import pytest
from packaging.version import Version

from deploykit.artifacts.version import compute, is_local, newest, parse_tag, uncommitted, untagged

COMMIT = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"
SNAPSHOT = "9f8e7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c"


@pytest.mark.parametrize(
    ("tag", "distance", "dirty", "version"),
    [
        ("v1.2.3", 0, False, "1.2.3"),
        ("1.2.3", 0, False, "1.2.3"),
        ("v1.2.3rc1", 0, False, "1.2.3rc1"),
        ("v1.2.3", 5, False, "1.2.4.dev5+g1a2b3c4"),
        ("v1.2.3", 5, True, "1.2.4.dev5+g1a2b3c4.d9f8e7d6c"),
        ("v1.2.3", 0, True, "1.2.4.dev0+g1a2b3c4.d9f8e7d6c"),
        ("", 12, False, "0.0.1.dev12+g1a2b3c4"),
        ("v2", 1, False, "2.0.1.dev1+g1a2b3c4"),
        ("v1.2", 1, False, "1.2.1.dev1+g1a2b3c4"),
        ("v1.2.3.4", 1, False, "1.2.3.5.dev1+g1a2b3c4"),
        ("v1.2.3rc1", 2, False, "1.2.3rc2.dev2+g1a2b3c4"),
        ("v1.2.3.post1", 2, False, "1.2.3.post2.dev2+g1a2b3c4"),
        ("v1.2.3.dev4", 2, False, "1.2.3.dev4+2.g1a2b3c4"),
        ("1!2.0.0", 2, False, "1!2.0.1.dev2+g1a2b3c4"),
    ],
)
def test_the_version_of_a_tree(tag, distance, dirty, version):
    computed = compute(last_tag=tag, distance=distance, commit=COMMIT, dirty_tree=SNAPSHOT if dirty else "")
    assert computed == version
    assert str(Version(computed)) == computed


@pytest.mark.parametrize("tag", ["nightly", "v1.2.3+build5", "release-1.2", "vacation", "1.2.x", ""])
def test_a_tag_that_is_no_version_is_ignored(tag):
    assert parse_tag(tag) is None


def test_the_newest_tag_is_the_highest_version_not_the_last_name():
    assert newest(["v1.9.0", "v1.10.0", "v1.10.0rc1", "zzz"]) == "v1.10.0"
    assert newest(["nightly"]) == ""


def test_a_local_version_is_told_from_a_public_one():
    assert is_local("1.2.4.dev5+g1a2b3c4")
    assert not is_local("1.2.3")
    assert not is_local("1.2.3rc1")


def test_what_is_in_no_commit_and_what_has_no_tag_is_said(repo):
    from deploykit.artifacts.git import read_tree

    assert "has no version tag" in untagged(read_tree(repo.root))
    assert uncommitted(read_tree(repo.root)) is None
    repo.git("tag", "v1.0.0")
    assert untagged(read_tree(repo.root)) is None
    for number in range(5):
        repo.write(f"new{number}.txt")
    reason = uncommitted(read_tree(repo.root))
    assert reason == "the working tree has changes that are not committed (new0.txt, new1.txt, new2.txt and 2 more)"
