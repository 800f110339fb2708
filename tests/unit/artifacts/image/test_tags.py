"""Which tags an image gets: pure, and always within the grammar of registries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from deploykit.artifacts import version as versions
from deploykit.artifacts.image.names import TAG
from deploykit.artifacts.image.tags import LeftOut, plan_tags, version_tag

COMMIT = "1a2b3c4" + "0" * 33


def plan(version: str, **options: object):
    return plan_tags(**{"version": version, "commit": COMMIT, "on_main": True, **options})


def why_not(found, name: str) -> str:
    return next(item.why for item in found.left_out if item.name == name)


def test_a_release_on_the_main_branch_gets_every_tag():
    assert plan("1.2.3", short=True).names == ("sha-1a2b3c4", "v1.2.3", "1.2", "1", "latest")


def test_only_the_tag_of_a_tagged_version_never_moves():
    assert [tag.name for tag in plan("1.2.3", short=True).tags if not tag.moves] == ["v1.2.3"]
    assert all(tag.moves for tag in plan("1.2.4.dev5+g1a2b3c4").tags)


def test_short_tags_are_given_when_asked_only():
    found = plan("1.2.3")
    assert found.names == ("sha-1a2b3c4", "v1.2.3", "latest")
    assert "not asked for" in why_not(found, "1.2")


def test_latest_is_for_the_main_branch_only():
    found = plan("1.2.3", on_main=False, main_branch="trunk")
    assert "latest" not in found.names
    assert "not on the main branch (trunk)" in why_not(found, "latest")


@pytest.mark.parametrize("version", ["1.2.3rc1", "1.2.3a2", "2.0.0.dev4", "1!2.0b1"])
def test_a_prerelease_is_never_latest(version: str):
    found = plan(version, short=True)
    assert not {"latest", "1.2", "1", "2.0", "2"} & set(found.names)
    assert "prerelease" in why_not(found, "latest")


def test_an_older_release_does_not_take_latest_from_a_newer_one():
    found = plan("1.2.3", released=["1.2.3", "1.3.0", "2.0.0rc1"], short=True)
    assert found.names == ("sha-1a2b3c4", "v1.2.3", "1.2")
    assert why_not(found, "latest") == "1.3.0 is newer"
    assert why_not(found, "1") == "1.3.0 is newer in that line"


@pytest.mark.parametrize("version", ["1.2.4.dev5+g1a2b3c4", "1.2.3rc1"])
def test_what_was_released_is_not_asked_for_where_nothing_depends_on_it(version: str):
    def released():
        pytest.fail("git was asked")
        yield

    assert "latest" not in plan(version, released=released(), short=True).names


def test_a_newer_prerelease_takes_nothing_from_a_release():
    assert "latest" in plan("1.2.3", released=["2.0.0rc1", "1.2.3"]).names


def test_changes_that_are_not_committed_show_in_the_tag():
    found = plan("1.2.4.dev0+g1a2b3c4.dd9f8e7d6", dirty_tree="d9f8e7d6" + "0" * 32)
    assert found.names == ("sha-1a2b3c4-d9f8e7d6", "v1.2.4.dev0_g1a2b3c4.dd9f8e7d6")
    assert "not committed" in found.tags[0].why


def test_the_local_part_of_a_version_is_mapped_and_an_epoch_refused():
    assert version_tag("1.0+g1a2b3c4") == "v1.0_g1a2b3c4"
    refused = version_tag("1!2.0")
    assert isinstance(refused, LeftOut)
    assert "epoch" in refused.why
    assert plan("1!2.0").names == ("sha-1a2b3c4",)


def test_a_version_too_long_for_a_tag_is_refused():
    refused = version_tag("1.0+" + "a" * 130)
    assert isinstance(refused, LeftOut)
    assert "128" in refused.why


def test_what_is_no_version_is_told():
    with pytest.raises(ValueError, match="no version"):
        plan("one point two")


def test_a_plan_is_told_as_json():
    told = plan("1.2.3").as_json()
    assert told["tags"][1] == {"name": "v1.2.3", "why": "the version 1.2.3; never moved", "moves": False}
    assert {item["name"] for item in told["left_out"]} == {"1.2", "1"}


number = st.integers(0, 10**9)
public = st.builds(
    lambda epoch, release, pre, post, dev: "".join(
        [
            f"{epoch}!" if epoch else "",
            ".".join(map(str, release)),
            f"{pre[0]}{pre[1]}" if pre else "",
            f".post{post}" if post is not None else "",
            f".dev{dev}" if dev is not None else "",
        ]
    ),
    st.sampled_from([0, 0, 0, 1]),
    st.lists(number, min_size=1, max_size=6),
    st.none() | st.tuples(st.sampled_from(["a", "b", "rc"]), number),
    st.none() | number,
    st.none() | number,
)
local = st.lists(st.from_regex(r"[a-z0-9]{1,40}", fullmatch=True), max_size=4).map(".".join)
any_version = st.builds(lambda base, rest: str(Version(f"{base}+{rest}" if rest else base)), public, local)
commits = st.text("0123456789abcdef", min_size=40, max_size=40)


@given(
    version=any_version,
    commit=commits,
    dirty=st.just("") | commits,
    on_main=st.booleans(),
    short=st.booleans(),
    released=st.lists(public.map(lambda text: str(Version(text))), max_size=4),
)
def test_every_tag_fits_the_grammar_and_stands_once(version, commit, dirty, on_main, short, released):
    found = plan_tags(version=version, commit=commit, dirty_tree=dirty, on_main=on_main, short=short, released=released)
    assert found.tags[0].name.startswith("sha-")
    assert all(TAG.fullmatch(name) for name in found.names)
    assert len({*found.names, *(item.name for item in found.left_out)}) == len(found.names) + len(found.left_out)
    assert all(item.why for item in [*found.tags, *found.left_out])
    if "latest" in found.names:
        assert on_main
        assert not Version(version).is_prerelease
        assert not Version(version).local


@given(any_version, any_version)
def test_two_versions_never_share_a_tag(one, other):
    tags = [version_tag(one), version_tag(other)]
    if one != other and all(isinstance(tag, str) for tag in tags):
        assert tags[0] != tags[1]


@given(commits, st.integers(0, 500), st.just("") | commits, st.sampled_from(["", "v1.2.3", "v2.0rc1", "v1.0.dev3"]))
def test_every_version_that_the_kit_computes_has_a_tag(commit, distance, dirty, last_tag):
    version = versions.compute(last_tag=last_tag, distance=distance, commit=commit, dirty_tree=dirty)
    assert isinstance(version_tag(version), str)
