"""The identity of a process. A process id alone is not enough: the system reuses it after the process has exited.

On Linux it comes from /proc. Elsewhere (macOS) `ps` reports the start time, to the second. psutil would be more
precise, but the base interpreter, which runs the supervisor, does not have it. Kit and supervisor must use the same
identity.
"""

from __future__ import annotations

import os

_PROC = "/proc"


def process_identity(pid: int) -> str | None:
    """A string that no other process has, on this boot or another. None: it has exited, or is a zombie."""
    try:
        with open(f"{_PROC}/{pid}/stat", "rb") as file:  # noqa: PTH123 - see `folder`
            state, *fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None if os.path.isdir(f"{_PROC}/self") else _identity_by_ps(pid)  # noqa: PTH112 - see `folder`
    return None if state in (b"Z", b"X") else f"{boot_id()}:{fields[18].decode()}"


def is_same_process(pid: int, identity: str) -> bool:
    """Whether the process that had this identity still runs. False for the empty string."""
    return process_identity(pid) == identity


def is_of_this_boot(identity: str) -> bool:
    """False also where the boot is not known."""
    boot = boot_id()
    return bool(boot) and identity.startswith(f"{boot}:")


def boot_id() -> str:
    """The id of this boot of the machine; empty if the kernel has none."""
    try:
        with open(f"{_PROC}/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123 - see `folder`
            return file.read().strip()
    except OSError:
        return ""


def _identity_by_ps(pid: int) -> str | None:
    import subprocess  # a tenth of a start, and not needed on Linux

    state, *started = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True,
        check=False,
        text=True,
        env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
    ).stdout.split() or ["Z"]
    return None if state.startswith("Z") else "-".join(started)
