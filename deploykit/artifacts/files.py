"""Folders as content: their hash, making them read-only, removing them again, and locks between processes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["canonical", "flocked", "folder_hash", "freeze", "remove", "sha256", "try_flock", "write_atomically"]


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
    """Take the write permission from everything below `folder`, and make it readable for all; links stay untouched."""
    for place, _, files in os.walk(folder, topdown=False):
        for name in files:
            path = Path(place, name)
            if not path.is_symlink():
                path.chmod(0o555 if path.stat().st_mode & stat.S_IXUSR else 0o444)
        Path(place).chmod(0o555)


def remove(folder: Path) -> None:
    """Remove a folder, read-only or not. What somebody is still writing stays, and is removed the next time."""
    with contextlib.suppress(OSError):
        for place, _, _ in os.walk(folder):
            Path(place).chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)


def write_atomically(path: Path, text: str) -> None:
    """Write a file that is either there as a whole or not at all, and survives a power cut once this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with part.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def try_flock(path: Path, *, shared: bool = False, wait: bool = False) -> int | None:
    """Lock the file `path`, made if needed; returns its descriptor (closing it unlocks), None when it is taken.

    The kernel gives the lock back when its holder dies, however it dies.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
            # Somebody may have removed the file between opening and locking it: then the lock guards nothing.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


@contextlib.contextmanager
def flocked(path: Path, *, shared: bool = False, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock on `path`, waiting for it; `on_wait` is called once if somebody else has it."""
    descriptor = try_flock(path, shared=shared)
    if descriptor is None:
        on_wait()
        descriptor = try_flock(path, shared=shared, wait=True)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)
