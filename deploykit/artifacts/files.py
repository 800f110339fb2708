"""Folders as content: their hash, making them read-only, and removing them again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["canonical", "copied", "folder_hash", "freeze", "remove", "sha256"]


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(data: Any) -> str:
    """JSON of which there is only one spelling, for hashing."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def folder_hash(folder: Path, *, skip: Callable[[str], bool] = lambda _: False) -> str:
    """SHA-256 over the names, executable bits and contents of all files below `folder`; times don't count.

    `skip` is asked with each path relative to the folder (`pkg/module.py`).
    """
    total = hashlib.sha256()
    for name in sorted(_names(folder)):
        if skip(name):
            continue
        path = folder / name
        if path.is_symlink():
            kind, content = "link", hashlib.sha256(os.fsencode(path.readlink())).hexdigest()
        else:
            kind = "program" if path.stat().st_mode & stat.S_IXUSR else "file"
            with path.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{kind} {content} {name}\0".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def _names(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        below = Path(place).relative_to(folder)
        links = [name for name in folders if Path(place, name).is_symlink()]
        yield from ((below / name).as_posix() for name in [*files, *links])


def freeze(folder: Path) -> None:
    """Take the write permission from everything below `folder`; links stay untouched.

    All may read it who get there: the store that it is in is closed (`Store.building`).
    """
    for place, _, files in os.walk(folder, topdown=False):
        for name in files:
            path = Path(place, name)
            if not path.is_symlink():
                path.chmod(0o555 if path.stat().st_mode & stat.S_IXUSR else 0o444)
        Path(place).chmod(0o555)


def copied(folder: Path, into: Path) -> Path:
    """A copy of a folder of Python sources in `into`, which all may read, made once for each content; whole or not at
    all.
    """
    final = into / f"{folder.name}-{folder_hash(folder, skip=lambda name: '__pycache__' in name)[:16]}"
    if final.is_dir():
        return final
    into.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=into))
    try:
        shutil.copytree(folder, fresh, dirs_exist_ok=True)
        freeze(fresh)
        fresh.chmod(0o755)  # a folder is renamed only by those who may write to it
        fresh.rename(final)
    except OSError:
        if not final.is_dir():  # else another command has made it meanwhile
            raise
    finally:
        remove(fresh)
    return final


def remove(folder: Path) -> None:
    """Remove a folder, read-only or not. A file that is still being written stays, and is removed the next time."""
    with contextlib.suppress(OSError):
        for place, _, _ in os.walk(folder):
            Path(place).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
