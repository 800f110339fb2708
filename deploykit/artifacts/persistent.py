"""Files and folders that the app writes into its tree and that outlive a version: links out of the artefact.

The links are part of the artefact, since programs find their files by the real path of their own sources: a second view
of the tree would not be seen by them. So such an artefact is of one app in one environment, and its digest names the
folder that the links lead to.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from deploykit.artifacts.files import remove
from deploykit.model import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["is_file_name", "link_out", "make_data"]

_INITIAL = "initial"
"""Folder of an artefact with what git has at persistent paths: the content that they begin with."""


def is_file_name(path: str) -> bool:
    """Whether a path that is not there yet is meant as a file: its name has a dot in it, and it does not end with /."""
    return not path.endswith("/") and bool(PurePosixPath(path).suffix)


def link_out(artefact: Path, persistent: Sequence[str], data: Path) -> None:
    """Replace each path in the artefact's tree, and in its installed package, by a link to its place in `data`.

    What git has there is moved aside, to begin with. Raises UsageError for a path that can't be replaced.
    """
    for path in (PurePosixPath(each) for each in persistent):
        places = [artefact / "tree" / path]
        installed = artefact / "site" / (path.relative_to("src") if path.parts[0] == "src" else path)
        if (artefact / "site" / installed.relative_to(artefact / "site").parts[0]).is_dir():
            places.append(installed)
        for place in places:
            _replace(place, data / path, artefact / _INITIAL / path, str(path))


def _replace(place: Path, by: Path, initial: Path, name: str) -> None:
    if place.is_symlink():
        raise UsageError(
            f"service.persistent names {name}, which is a link to {place.readlink()}",
            next_step="name what it leads to, or remove the link",
        )
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(
            f"service.persistent names {name}, and a part of that is a file of the tree", next_step="correct the path"
        ) from None
    if place.exists():
        if initial.exists():  # the tree's was moved already, and the installed package has the same
            remove(place) if place.is_dir() else place.unlink()
        else:
            initial.parent.mkdir(parents=True, exist_ok=True)
            place.rename(initial)
    place.symlink_to(by)


def make_data(artefact: Path, persistent: Sequence[str], data: Path) -> None:
    """Make what is not in `data` yet: from what git has, else an empty folder; a file is left to the app.

    What is there stays as it is. Each appears as a whole.
    """
    for path in persistent:
        place, initial = data / path, artefact / _INITIAL / path
        if os.path.lexists(place):
            continue
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        if not initial.exists():
            if not is_file_name(path):
                place.mkdir(exist_ok=True)
            continue
        whole = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
        if initial.is_dir():
            shutil.copytree(initial, whole, symlinks=True)
        else:
            shutil.copy2(initial, whole)
        _make_writable(whole)
        whole.rename(place)


def _make_writable(path: Path) -> None:
    """Artefacts are read-only, and what the app owns is not."""
    for each in (path, *(path.rglob("*") if path.is_dir() else ())):
        if not each.is_symlink():
            each.chmod(each.stat().st_mode | stat.S_IWUSR)
