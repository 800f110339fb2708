"""The supervisor's folder: what its files are called, and that it belongs to one user and one supervisor."""

# pathlib alone would double the time in which a supervisor starts.
# ruff: noqa: PTH103, PTH101, PTH118

from __future__ import annotations

import contextlib
import fcntl
import os
import stat

from .protocol import Refused

SOCKET = "socket"
STATE = "state.json"
LOCK = "lock"
LOG = "daemon.log"


def make_private(folder: str, owners: tuple[int, ...] = ()) -> None:
    """Make `folder` for its owner alone. Raises Refused when somebody else made it first."""
    with contextlib.suppress(FileExistsError):
        os.makedirs(folder, 0o700)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), *owners):
        raise Refused("folder", f"{folder} belongs to somebody else")
    if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) & 0o077:
        os.chmod(folder, 0o700)


def take_lock(folder: str) -> int:
    """The descriptor that holds this folder, -1 when another supervisor does."""
    fd = os.open(os.path.join(folder, LOCK), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return -1
    return fd
