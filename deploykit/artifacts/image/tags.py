"""Which tags an image gets, and why it does not get the others. Pure: what git said comes in.

    sha-1a2b3c4            always; of uncommitted changes sha-1a2b3c4-d9f8e7d6
    v1.2.3                 the version; a tagged one is never moved once a registry has it
    1.2, 1                 when asked, of a release that is the newest in its line
    latest                 of a release on the main branch that is the newest; never of a prerelease

PEP 440 has two characters that a tag may not have. `+` becomes `_`, which no version contains, so that no two versions
share a tag; an epoch (`1!2.0`) is refused. What is deployed is always the digest: tags are for people.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from packaging.version import InvalidVersion, Version

from deploykit.artifacts.image.names import TAG

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["LeftOut", "Tag", "TagPlan", "plan_tags", "version_tag"]

_SHORT = 7


@dataclass(frozen=True, kw_only=True)
class Tag:
    """`moves`: whether it may be given to another image later. A version's never does."""

    name: str
    why: str
    moves: bool


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    name: str
    why: str


@dataclass(frozen=True, kw_only=True)
class TagPlan:
    """`tags` in the order in which they are pushed: the first is there always, those that move come last."""

    tags: tuple[Tag, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(tag.name for tag in self.tags)

    def as_json(self) -> dict[str, Any]:
        return {"tags": [asdict(tag) for tag in self.tags], "left_out": [asdict(item) for item in self.left_out]}


def version_tag(version: str) -> str | LeftOut:
    """The tag of a version, or why it has none."""
    name = "v" + version.replace("+", "_")
    if "!" in version:
        return LeftOut(
            name=f"v{version}", why="a tag can't have the '!' of an epoch, and without it it would be another version's"
        )
    if len(name) > 128:
        return LeftOut(name=name, why=f"a tag has at most 128 characters, this one would have {len(name)}")
    if not TAG.fullmatch(name):
        return LeftOut(name=name, why="it has characters that no registry allows in a tag")
    return name


def plan_tags(  # noqa: PLR0913 - what the tags depend on, all by keyword
    *,
    version: str,
    commit: str,
    dirty_tree: str = "",
    on_main: bool,
    main_branch: str = "main",
    released: Iterable[str] = (),
    short: bool = False,
) -> TagPlan:
    """The tags of an image of `version`, built at `commit` (full hash).

    `dirty_tree` is the hash of the snapshot of a dirty tree, `""` for a clean one. `on_main`: the commit is on the main
    branch. `released` are the versions that git has tags for, anywhere, and are read only for a release; `short` asks
    for `1.2` and `1`. Raises ValueError for a version that is none of PEP 440.
    """
    try:
        parsed = Version(version)
    except InvalidVersion as error:
        raise ValueError(f"{version!r} is no version") from error
    versions = () if _no_release(parsed) else map(Version, released)  # only of a release it matters which are newer
    others = [other for other in versions if other != parsed and not other.is_prerelease]
    tags = [_commit_tag(commit, dirty_tree)]
    left_out: list[LeftOut] = []
    own = version_tag(version)
    if isinstance(own, str):
        # Of a tagged version there is one image for ever; a version with a local part names a commit, as `sha-` does.
        why = f"the version {version} ('+' becomes '_')" if parsed.local else f"the version {version}; never moved"
        tags.append(Tag(name=own, why=why, moves=parsed.local is not None))
    else:
        left_out.append(own)
    for item in [*_lines(parsed, others, short=short), _latest(parsed, others, on_main=on_main, main=main_branch)]:
        (tags if isinstance(item, Tag) else left_out).append(item)  # type: ignore[arg-type]  # narrowed by isinstance
    return TagPlan(tags=tuple(tags), left_out=tuple(left_out))


def _commit_tag(commit: str, dirty_tree: str) -> Tag:
    name = f"sha-{commit[:_SHORT]}"
    if dirty_tree:
        why = f"commit {commit[:_SHORT]} with changes that are not committed (tree {dirty_tree[:8]})"
        return Tag(name=f"{name}-{dirty_tree[:8]}", why=why, moves=True)
    return Tag(name=name, why=f"commit {commit[:_SHORT]}; moves only when that commit is built again", moves=True)


def _no_release(version: Version) -> str:
    """Why the version is no release that a moving tag may follow; empty when it is one."""
    if version.local:
        return f"{version} is no tagged version"
    if version.is_prerelease:
        return f"{version} is a prerelease"
    if version.epoch:
        return f"{version} has an epoch, which a tag can't show"
    return ""


def _lines(version: Version, others: list[Version], *, short: bool) -> Iterator[Tag | LeftOut]:
    for length in (2, 1):
        line = tuple([*version.release, 0][:length])
        name = ".".join(map(str, line))
        newer = [other for other in others if tuple([*other.release, 0][:length]) == line and other > version]
        if not short:
            yield LeftOut(name=name, why="not asked for (image.short_tags)")
        elif why := _no_release(version):
            yield LeftOut(name=name, why=why)
        elif newer:
            yield LeftOut(name=name, why=f"{max(newer)} is newer in that line")
        else:
            yield Tag(name=name, why=f"the newest release of the line {name}; moves", moves=True)


def _latest(version: Version, others: list[Version], *, on_main: bool, main: str) -> Tag | LeftOut:
    newer = [other for other in others if other > version]
    if why := _no_release(version):
        return LeftOut(name="latest", why=why)
    if not on_main:
        return LeftOut(name="latest", why=f"the commit is not on the main branch ({main})")
    if newer:
        return LeftOut(name="latest", why=f"{max(newer)} is newer")
    return Tag(name="latest", why=f"the newest release, on the main branch ({main}); moves", moves=True)
