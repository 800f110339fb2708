"""Whose a folder is. What lies in a folder that somebody else can write to is somebody else's to decide."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from deploykit.model.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["require_own_folder", "socket_address"]

_PATH_LIMIT = 100  # bytes; the kernel takes 107 on Linux, 103 on macOS
_PROC = Path("/proc/self/fd")


def require_own_folder(folder: Path) -> None:
    """Make sure that nobody but this user (and root) can put anything into the state folder `folder`.

    It belongs to this user and is writable for nobody else; and nobody else can put another folder into its place: each
    folder above it is root's or this user's, and writable for others only where it is sticky, as /tmp is. What is not
    there yet is not looked at. Raises UsageError with whose it is, and what to do. Like sshd's StrictModes, see
    `safe_path` in https://github.com/openssh/openssh-portable/blob/master/misc.c.
    """
    for place in dict.fromkeys((folder.absolute(), *folder.absolute().parents, *_resolved(folder))):
        try:
            found = place.lstat()
        except OSError:
            continue  # not there, or not to be looked at: who makes or reads it says so
        itself = place in (folder.absolute(), Path(os.path.realpath(folder))) and not stat.S_ISLNK(found.st_mode)
        if found.st_uid not in _trusted(itself=itself):
            raise _somebody_elses(folder, place, found.st_uid)
        if stat.S_ISDIR(found.st_mode) and _others_write(found) and (itself or not found.st_mode & stat.S_ISVTX):
            raise UsageError(
                f"other users of this machine can write to {place}, so what is in {folder} may be theirs",
                next_step=f"chmod go-w {shlex.quote(str(place))}"
                if found.st_uid == os.geteuid() and not found.st_mode & stat.S_ISVTX
                else "set DEPLOYKIT_STATE_DIR to a folder of your own",
            )


@contextlib.contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """What to connect to for the Unix socket `path`, whatever its length.

    Raises UsageError when its folder belongs to somebody else or others can write to it, for then they may have put
    the socket there; OSError when there is none.
    """
    folder = os.open(path.parent, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = os.fstat(folder)
        if found.st_uid != os.geteuid():
            raise _somebody_elses(path.parent, path.parent, found.st_uid)
        if _others_write(found):
            raise UsageError(
                f"other users of this machine can write to {path.parent}, so its socket may be theirs",
                next_step=f"chmod go-w {shlex.quote(str(path.parent))}",
            )
        if len(os.fsencode(path)) <= _PATH_LIMIT:
            yield str(path)
        elif _PROC.is_dir():
            yield str(_PROC / str(folder) / path.name)
        else:
            raise UsageError(
                f"the path of a socket is too long for this system: {path}",
                next_step="set DEPLOYKIT_STATE_DIR to a shorter folder",
            )
    finally:
        os.close(folder)


def _resolved(folder: Path) -> tuple[Path, ...]:
    """The folder that it really is, and those above that one: links on the way may lead elsewhere."""
    real = Path(os.path.realpath(folder))
    return (real, *real.parents)


def _trusted(*, itself: bool) -> tuple[int, ...]:
    """Who may own the state folder `itself`, or a folder above it. In a user namespace root's `/` is somebody's whom
    the namespace doesn't know.
    """
    return (os.geteuid(),) if itself else (0, os.geteuid(), Path("/").stat().st_uid)


def _others_write(found: os.stat_result) -> bool:
    """Whether anybody but the owner may write. A group that is the user's alone, and has the same name, is nobody."""
    if found.st_mode & stat.S_IWOTH:
        return True
    if not found.st_mode & stat.S_IWGRP:
        return False
    try:
        group, user = grp.getgrgid(found.st_gid), pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return True
    return group.gr_name != user or not {user}.issuperset(group.gr_mem)


def _somebody_elses(folder: Path, place: Path, owner: int) -> UsageError:
    try:
        who = pwd.getpwuid(owner).pw_name
    except KeyError:
        who = f"uid {owner}"
    return UsageError(
        f"{place} belongs to {who}, who could read and change what the kit keeps in {folder}",
        next_step=f"run this as {who}, or set DEPLOYKIT_STATE_DIR to a folder of your own",
    )
