"""Files that several processes share: replaced whole, and locked."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["flocked", "replaced", "try_flock", "write_atomically"]

_AGAIN_SECONDS = 0.02


def write_atomically(path: Path, content: str | bytes, *, mode: int = 0o644, durable: bool = False) -> None:
    """Write a file (text as UTF-8) of which nobody ever sees a part, as `replaced` does."""
    with replaced(path, mode=mode, durable=durable) as fresh:
        fresh.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def replaced(path: Path, *, mode: int = 0o644, durable: bool = False) -> Iterator[Path]:
    """An empty file in the same folder, to be filled, that replaces `path` in the end; an error leaves `path` as it
    was.

    It is made with `mode`, less the umask, so it is never open to more users, not for a moment. The folder is made if
    it is missing. Its name is its own, so of several writers at once the last one wins, whole. `durable`: file and
    folder survive a power cut once this returns.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    try:
        yield fresh
        if durable:
            _sync(fresh)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    if durable:
        _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def try_flock(path: Path, *, shared: bool = False) -> int | None:
    """Lock the file `path`, made if needed; returns its descriptor (closing it unlocks), None when it is taken.

    The kernel gives the lock back when its holder dies, however it dies.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
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
def flocked(
    path: Path,
    *,
    shared: bool = False,
    on_wait: Callable[[], None] = lambda: None,
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold the lock on `path`, waiting for it; `on_wait` is called once if somebody else has it.

    `wait` sleeps for so many seconds; it may raise Cancelled.
    """
    descriptor = try_flock(path, shared=shared)
    if descriptor is None:
        on_wait()
    while descriptor is None:
        wait(_AGAIN_SECONDS)
        descriptor = try_flock(path, shared=shared)
    try:
        yield
    finally:
        os.close(descriptor)
