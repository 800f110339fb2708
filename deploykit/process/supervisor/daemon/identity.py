"""What names a process for ever: a process id alone is given to another process once the first has ended.

Linux tells it in /proc. Elsewhere (macOS) `ps` tells the start time, to the second. psutil would tell more digits, but it is
not there in the base interpreter, which runs the supervisor, and kit and supervisor must name a process by the same word.
"""

from __future__ import annotations

import os

_PROC = "/proc"


def process_identity(pid: int) -> str | None:
    """One word that no other process has, of this boot or another. None: it has ended, or only waits to be reaped."""
    try:
        with open(f"{_PROC}/{pid}/stat", "rb") as file:  # noqa: PTH123 - see `folder`
            state, *fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None if os.path.isdir(f"{_PROC}/self") else _identity_by_ps(pid)  # noqa: PTH112 - see `folder`
    return None if state in (b"Z", b"X") else f"{boot_id()}:{fields[18].decode()}"


def is_same_process(pid: int, identity: str) -> bool:
    """Whether the process that had this identity still runs. False for the empty word."""
    return process_identity(pid) == identity


def is_of_this_boot(identity: str) -> bool:
    """False also where the boot is not known."""
    boot = boot_id()
    return bool(boot) and identity.startswith(f"{boot}:")


def boot_id() -> str:
    """Names this boot of the machine; empty where the kernel doesn't say."""
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
