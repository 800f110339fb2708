from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from deploykit.artifacts.version import compute, is_local, parse_tag

hashes = st.text("0123456789abcdef", min_size=40, max_size=40)
numbers = st.integers(0, 10**6)
releases = st.lists(numbers, min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
suffixes = st.one_of(
    st.just(""),
    st.builds("{}{}".format, st.sampled_from(["a", "b", "rc", "-beta", ".post", ".dev", "rc1.post"]), numbers),
)
epochs = st.sampled_from(["", "", "", "1!"])
tags = st.builds("{}{}{}{}".format, st.sampled_from(["v", ""]), epochs, releases, suffixes)


@given(tag=st.one_of(st.just(""), tags), distance=numbers, commit=hashes, dirty=st.one_of(st.just(""), hashes))
def test_every_version_is_pep_440_in_its_normal_form(tag, distance, commit, dirty):
    version = compute(last_tag=tag, distance=distance, commit=commit, dirty_tree=dirty)
    assert str(Version(version)) == version
    clean_release = bool(tag) and distance == 0 and not dirty
    assert is_local(version) is not clean_release


@given(tag=tags, distance=st.integers(1, 10**6), commit=hashes, dirty=st.one_of(st.just(""), hashes))
def test_a_tree_after_a_tag_is_newer_than_the_tag_and_older_than_the_next_one(tag, distance, commit, dirty):
    tagged = parse_tag(tag)
    version = Version(compute(last_tag=tag, distance=distance, commit=commit, dirty_tree=dirty))
    assert version > tagged
    padded = [*tagged.release, 0, 0, 0][: max(3, len(tagged.release))]
    padded[-1] += 1
    epoch = f"{tagged.epoch}!" if tagged.epoch else ""
    assert version < Version(epoch + ".".join(map(str, padded)))


@given(tag=tags, near=numbers, farther=st.integers(1, 1000), commit=hashes, other=hashes)
def test_more_commits_after_the_same_tag_are_a_newer_version(tag, near, farther, commit, other):
    first = Version(compute(last_tag=tag, distance=near, commit=commit))
    second = Version(compute(last_tag=tag, distance=near + farther, commit=other))
    assert first < second


@given(tag=tags, distance=numbers, commit=hashes, one=hashes, two=hashes)
def test_two_dirty_trees_that_differ_early_have_two_versions(tag, distance, commit, one, two):
    versions = {compute(last_tag=tag, distance=distance, commit=commit, dirty_tree=tree) for tree in (one, two)}
    assert len(versions) == len({one[:8], two[:8]})
