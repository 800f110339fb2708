"""The version of a tree, from the tags in its history. Pure: git's output goes in, PEP 440 text comes out.

A clean tree at a version tag has that version. Every other tree gets a development version of the next patch, with the
commit in its local part. A dirty one also gets the start of its tree hash, so no two trees share a version:

    v1.2.3 at HEAD, clean            1.2.3
    5 commits after v1.2.3           1.2.4.dev5+g1a2b3c4
    the same with edits              1.2.4.dev5+g1a2b3c4.d9f8e7d6c
    no tag in the history            0.0.1.dev12+g1a2b3c4
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deploykit.artifacts.git_tree import GitTree

__all__ = ["compute", "is_local", "newest", "parse_tag", "version_of"]

_TAG = re.compile(r"v?\d", re.IGNORECASE)
_SHOWN_FILES = 3


def parse_tag(tag: str) -> Version | None:
    """The version that a tag names (`v1.2.3`, `1.2.3`, `v2.0.0rc1`); None for tags that mean something else.

    A tag with a local part (`v1.2.3+build5`) is none: PEP 440 keeps local parts for what is not published.
    """
    if not _TAG.match(tag):
        return None
    try:
        version = Version(tag)
    except InvalidVersion:
        return None
    return None if version.local else version


def newest(tags: Iterable[str]) -> str:
    """The tag with the highest version, `""` when no tag is a version."""
    versions = [(version, tag) for tag in tags if (version := parse_tag(tag)) is not None]
    return max(versions)[1] if versions else ""


def compute(*, last_tag: str, distance: int, commit: str, dirty_tree: str = "") -> str:
    """The version of a tree `distance` commits after `last_tag` (`""`: there is none), at `commit` (full hash).

    `dirty_tree` is the hash of the snapshot of a dirty tree, `""` for a clean one. Between two tags t < u holds
    t < version < u for every u that is a higher patch, minor or major version.
    """
    tagged = parse_tag(last_tag) if last_tag else None
    if tagged is not None and distance == 0 and not dirty_tree:
        return str(tagged)
    local = f"g{commit[:7]}" + (f".d{dirty_tree[:8]}" if dirty_tree else "")
    if tagged is not None and tagged.dev is not None:
        # A tag that is a development version itself leaves no room for another `.dev`: the distance goes behind it.
        return f"{tagged}+{distance}.{local}"
    return f"{_next(tagged)}.dev{distance}+{local}"


def _next(tagged: Version | None) -> str:
    if tagged is None:
        return "0.0.1"
    epoch = f"{tagged.epoch}!" if tagged.epoch else ""
    if tagged.post is not None:
        return f"{tagged.public[: tagged.public.rindex('post')]}post{tagged.post + 1}"
    if tagged.pre is not None:
        kind, number = tagged.pre
        return f"{epoch}{'.'.join(map(str, tagged.release))}{kind}{number + 1}"
    release = list(tagged.release) + [0] * (3 - len(tagged.release))
    release[-1] += 1
    return epoch + ".".join(map(str, release))


def version_of(tree: GitTree) -> str:
    """The version of what `read_tree` found."""
    return compute(
        last_tag=tree.last_tag,
        distance=tree.distance,
        commit=tree.commit,
        dirty_tree=tree.tree if tree.dirty else "",
    )


def is_local(version: str) -> bool:
    """Whether the version is that of an untagged tree."""
    return Version(version).local is not None


def uncommitted(tree: GitTree) -> str | None:
    """What of this tree is in no commit, as a sentence; None when it is clean."""
    if not tree.dirty:
        return None
    shown = ", ".join(tree.changed[:_SHOWN_FILES])
    more = len(tree.changed) - _SHOWN_FILES
    files = f"{shown} and {more} more" if more > 0 else shown
    return f"the working tree has changes that are not committed ({files})"


def untagged(tree: GitTree) -> str | None:
    """That this commit has no version tag, as a sentence; None when it has one."""
    version = version_of(tree)
    return f"commit {tree.commit[:7]} has no version tag, so its version is {version}" if is_local(version) else None
