"""What no artefact is built with: secrets that are in git, links out of the tree, and content that a commit does not
have as it should be (submodules, files in Git LFS, files that go through a filter).
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from deploykit.model import UsageError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

__all__ = ["reject_filtered", "reject_lfs_pointers", "reject_links_out", "reject_submodules", "reject_tracked_secrets"]

_SHOWN = 10
_POINTER = b"version https://git-lfs.github.com/spec/v1\n"
"""How a pointer begins: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md"""
_POINTER_BYTES = 1024
"""A pointer is shorter."""


def reject_submodules(paths: Iterable[str]) -> None:
    """Raise UsageError when there are any."""
    found = list(paths)
    if found:
        first = shlex.quote(found[0])
        raise UsageError(
            f"the files of {_named(found, 'submodule')} are not in this repository, so the release would lack them",
            details=found[:_SHOWN],
            next_step=f"put the files into the repository: git rm --cached {first} && git add {first}/",
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


def reject_filtered(filters: Mapping[str, str], programs: Container[str]) -> None:
    """Raise UsageError when a program of the repository's configuration makes files.

    `filters` has the filter of each file that has one, `programs` the filters that are such programs.
    """
    found = [name for name, used in filters.items() if used in programs]
    if found:
        raise UsageError(
            f"git makes {_named(found, 'file')} of this tree by the filter {filters[found[0]]!r}, a program that its"
            " configuration names, and the kit runs none of those",
            details=found[:_SHOWN],
            next_step=f"commit them as they are to be shipped; git check-attr -a {shlex.quote(found[0])}",
        )


def reject_lfs_pointers(tree: Path, names: Sequence[str]) -> None:
    """Raise UsageError when any of these files of the exported tree, which Git LFS keeps, is only a pointer into it.

    Where git-lfs is installed and has their content here, git has replaced them by it.
    """
    found = sorted(name for name in names if _is_pointer(tree / name))
    if found:
        raise UsageError(
            f"only pointers into Git LFS are here for {_named(found, 'file')} of this tree",
            details=found[:_SHOWN],
            next_step="install git-lfs, then: git lfs install && git lfs pull",
        )


def reject_links_out(tree: Path, names: Sequence[str]) -> None:
    """Raise UsageError when one of these links of the exported tree leads out of it.

    Builds follow links: they would read the machine's files into the artefact, or write into them. And what runs would
    depend on what can be deleted.
    """
    top = tree.resolve()
    for name in names:
        to = (tree / name).readlink()
        leads = Path(os.path.realpath((tree / name).parent / to))  # also of links that lead to one another
        if to.is_absolute() or not leads.is_relative_to(top):
            raise UsageError(
                f"{name} is a link out of the tree, to {to}",
                next_step="replace the link by what it points to, and commit that; or name it in .gitignore",
            )


def _is_pointer(path: Path) -> bool:
    if path.is_symlink() or not path.is_file() or path.stat().st_size >= _POINTER_BYTES:
        return False
    with path.open("rb") as file:
        return file.read(len(_POINTER)) == _POINTER


def _named(found: list[str], what: str) -> str:
    return f"{len(found)} {what}{'s' if len(found) > 1 else ''}"
