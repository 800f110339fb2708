"""The git tree that an artefact is built from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["GitTree"]


@dataclass(frozen=True, kw_only=True)
class GitTree:
    """A tree that can be built. `root` may be below `top`, the top of the repository: then `tree` is the subtree.

    `prefix` leads from `top` to `root` (`services/api/`), and is `""` where they are the same.

    `tree` is git's tree hash; for a dirty tree that of a snapshot of the tracked and the untracked, not ignored files.
    `changed` are the files that differ from the commit, relative to `root`; `nested` are repositories in the tree that
    are no part of it. `left_out` are new files of variables (`.env.local`), which are no part of it either, and
    `secrets` those that git tracks, for which nothing is built. `tags` are all tags at the commit;
    `last_tag` is the highest version tag in the history (`""`: none) and `distance` the number of commits since.
    `commit_time` is UTC epoch seconds; `branch` is None when HEAD is detached.
    """

    root: Path
    top: Path
    prefix: str
    commit: str
    branch: str | None
    tree: str
    dirty: bool
    changed: tuple[str, ...]
    tags: tuple[str, ...]
    last_tag: str
    distance: int
    commit_time: int
    warnings: tuple[str, ...] = ()
    nested: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()

    @property
    def left_out_note(self) -> str:
        """What a build says of the files that it leaves out; empty where there are none."""
        return f"left out: {', '.join(self.left_out)}" if self.left_out else ""

    @property
    def describe(self) -> str:
        """As `git describe --tags --long --dirty` would say it."""
        commit = f"{self.last_tag}-{self.distance}-g{self.commit[:7]}" if self.last_tag else self.commit[:7]
        return f"{commit}-dirty" if self.dirty else commit
