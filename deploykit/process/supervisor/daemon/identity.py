"""The identity of a process. A process id alone is not enough: the system reuses it after the process has exited, and
other machines and PID namespaces (containers) have the same numbers for other processes.

On Linux it comes from /proc. Elsewhere (macOS) `ps` reports the start time, to the second, in one locale and time zone.
psutil would be more precise, but the base interpreter, which runs the supervisor, does not have it. Kit and supervisor
must use the same identity.
"""

from __future__ import annotations

import functools
import os

_PROC = "/proc"


def process_identity(pid: int) -> str | None:
    """`PLACE:START`, a string that no other process has, on this boot or another. None: it has exited, or is a
    zombie.
    """
    try:
        with open(f"{_PROC}/{pid}/stat", "rb") as file:  # noqa: PTH123 - see `folder`
            state, *fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None if os.path.isdir(f"{_PROC}/self") else _identity_by_ps(pid)  # noqa: PTH112 - see `folder`
    return None if state in (b"Z", b"X") else f"{place()}:{fields[18].decode()}"


def is_same_process(pid: int, identity: str) -> bool:
    """Whether the process that had this identity still runs. False for the empty string."""
    return process_identity(pid) == identity


def is_of_this_place(identity: str) -> bool:
    """Whether it can be seen from here if that process runs. False where this place is not known."""
    here = place()
    return bool(here) and identity.startswith(f"{here}:")


def is_gone(pid: int, identity: str) -> bool:
    """True only where it is certain that the process has ended: in another place it may run, and not be seen."""
    if not is_of_this_place(identity):
        return False
    found = process_identity(pid)
    return found != identity and (found is not None or not _is_hidden(pid))


def place() -> str:
    """Where a process number means the same process: this boot of this machine and, on Linux, this PID namespace.

    The boot's id is random, so no two machines share one. The namespace's number is given to another one only when no
    process of the first is left. Empty where it is not known, also where /proc is another namespace's.
    """
    try:
        boot = boot_id()
        if os.readlink(f"{_PROC}/self") != str(os.getpid()):  # noqa: PTH115 - see `folder`
            return ""
        return f"{boot}/{os.stat(f'{_PROC}/self/ns/pid').st_ino}"  # noqa: PTH116 - see `folder`
    except OSError:
        return "" if os.path.isdir(f"{_PROC}/self") else _boot_session(os.defpath)  # noqa: PTH112 - see `folder`


def boot_id() -> str:
    """Linux's name for this boot of this machine. Raises OSError where there is none."""
    with open(f"{_PROC}/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123 - see `folder`
        return file.read().strip()


@functools.cache
def _boot_session(_path: str) -> str:
    """The id that macOS gives this boot; `_path` is where its program is looked for."""
    return _said_by("sysctl", "-n", "kern.bootsessionuuid")


def _is_hidden(pid: int) -> bool:
    """Whether there is such a process of another user, which /proc may be told to hide (its option `hidepid`)."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _identity_by_ps(pid: int) -> str | None:
    state, *started = _said_by("ps", "-o", "stat=,lstart=", "-p", str(pid)).split() or ["Z"]
    return None if state.startswith("Z") else f"{place()}:{'-'.join(started)}"


def _said_by(*argv: str) -> str:
    """What a program of the system prints, whatever the caller's locale and time zone; empty where it is not there."""
    import subprocess  # a tenth of a start, and not needed on Linux

    try:
        return subprocess.run(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
            text=True,
            env={"PATH": f"{os.defpath}:/usr/sbin:/sbin", "LC_ALL": "C", "TZ": "UTC"},
        ).stdout.strip()
    except OSError:
        return ""
