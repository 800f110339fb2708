"""What no artefact is built with: secrets that are in git, and what a commit names and does not have (submodules, files
in Git LFS).
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from deploykit.model import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["reject_lfs_pointers", "reject_submodules", "reject_tracked_secrets"]

_SHOWN = 10
_POINTER = b"version https://git-lfs.github.com/spec/v1\n"
"""How a pointer begins: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md"""
_POINTER_BYTES = 1024
"""A pointer is shorter."""


def reject_submodules(paths: Iterable[str]) -> None:
    """Raise UsageError when there are any."""
    found = list(paths)
    if found:
        raise UsageError(
            f"the files of {_named(found, 'submodule')} are not in this repository, so the release would lack them",
            details=found[:_SHOWN],
            next_step=f"put the files into the repository: git rm --cached {found[0]} && git add {found[0]}/",
        )


def reject_tracked_secrets(paths: Iterable[str]) -> None:
    """Raise UsageError when git tracks any of these files of variables."""
    found = list(paths)
    if found:
        quoted = [shlex.quote(path) for path in found[:_SHOWN]]
        ignore = " && ".join(f"echo {path} >> .gitignore" for path in quoted)
        raise UsageError(
            f"git tracks {_named(found, 'file')} of variables, whose secrets would go into the artefact",
            details=[
                *found[:_SHOWN],
                "what was committed stays in the history: replace those secrets",
                "if it holds none, give it a name that says so: .env.example",
            ],
            next_step=(
                f"git rm --cached {' '.join(quoted)} && {ignore} && git add .gitignore"
                ' && git commit -m "Keep variables out of git"'
            ),
        )


def reject_lfs_pointers(tree: Path) -> None:
    """Raise UsageError when files of the exported tree are pointers into Git LFS.

    Where git-lfs is installed, git has replaced them by their content.
    """
    attributes = (path for path in tree.rglob(".gitattributes") if path.is_file())
    if not any(b"filter=lfs" in path.read_bytes() for path in attributes):
        return
    files = (path for path in sorted(tree.rglob("*")) if path.is_file() and not path.is_symlink())
    found = [path.relative_to(tree).as_posix() for path in files if _is_pointer(path)]
    if found:
        raise UsageError(
            f"only pointers into Git LFS are here for {_named(found, 'file')} of this tree",
            details=found[:_SHOWN],
            next_step="install git-lfs, then: git lfs install && git lfs pull",
        )


def _is_pointer(path: Path) -> bool:
    if path.stat().st_size >= _POINTER_BYTES:
        return False
    with path.open("rb") as file:
        return file.read(len(_POINTER)) == _POINTER


def _named(found: list[str], what: str) -> str:
    return f"{len(found)} {what}{'s' if len(found) > 1 else ''}"
