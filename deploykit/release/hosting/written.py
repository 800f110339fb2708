"""What a running version has written into its own tree, which the next version does not have."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Written", "are_data", "written_below"]

_SCRATCH_FOLDERS = frozenset(
    {
        *("__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".cache", "cache", "tmp", "temp", ".tmp"),
        *(".git", ".ipython", ".ipynb_checkpoints", ".webassets-cache"),
    }
)
_SCRATCH_FILES = re.compile(r".*(?:\.py[co]|\.pid|\.sock|\.lock|\.tmp|\.swp|~|_history)")


@dataclass(frozen=True, kw_only=True)
class Written:
    """Files by their paths in the tree, sorted, without caches and temporary files. `place`: where that tree is."""

    files: tuple[str, ...]
    place: str


def are_data(names: Iterable[str]) -> list[str]:
    """Those of the paths, relative to a tree, that are no caches and no temporary files. Logs are data."""
    paths = (PurePosixPath(name) for name in names)
    kept = {path for path in paths if not _SCRATCH_FOLDERS.intersection(path.parts[:-1])}
    return sorted(str(path) for path in kept if not _SCRATCH_FILES.fullmatch(path.name))


def written_below(folder: Path, *, since: int) -> Iterator[str]:
    """The files of an artefact's frozen folder that came after it was made, or were changed; `since` in nanoseconds.

    All that is exported loses its write permission, and is older than the artefact's manifest.
    """
    for place, _, files in os.walk(folder):
        for path in (Path(place, name) for name in files):
            try:
                found = path.lstat()
            except OSError:
                continue  # removed meanwhile
            regular, link = stat.S_ISREG(found.st_mode), stat.S_ISLNK(found.st_mode)
            if (regular and (found.st_mode & 0o222 or found.st_mtime_ns > since)) or (
                link and found.st_mtime_ns > since
            ):
                yield path.relative_to(folder).as_posix()
