"""Ports: a free one for an environment, and who holds a taken one."""

from __future__ import annotations

import contextlib
import errno
import socket
import zlib
from pathlib import Path

from deploykit.edge.errors import EdgeError, PortTaken

__all__ = ["address", "check_free", "find_free", "holder", "preferred_port"]

_FIRST, _COUNT = 20_000, 10_000
"""Below what systems give to outgoing connections (32768 and up), so a port stays free while the edge is down."""
_LISTENING = "0A"


def address(host: str, port: int) -> str:
    """`host:port`, with IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def preferred_port(seed: str, step: int = 0) -> int:
    """The port that `seed` (the environment) tries first, and the `step`-th after it."""
    return _FIRST + (zlib.crc32(seed.encode()) + step) % _COUNT


def find_free(bind: str, seed: str) -> int:
    """A free port, the same one for the same `seed` when it can be had. Raises EdgeError when all are taken."""
    for step in range(_COUNT):
        port = preferred_port(seed, step)
        if _bind_error(bind, port) is None:
            return port
    raise EdgeError(f"no port between {_FIRST} and {_FIRST + _COUNT - 1} is free on {bind}")


def check_free(bind: str, port: int, *, setting: str) -> None:
    """Raises PortTaken (or EdgeError when the system forbids the port) with who holds it and the setting to change."""
    refusal = _bind_error(bind, port)
    if refusal is None:
        return
    if refusal.errno == errno.EADDRINUSE:
        by = holder(port)
        raise PortTaken(
            f"port {port} is taken" + (f" by {by}" if by else ""),
            details=[f"{bind}:{port}: {refusal.strerror}"],
            next_step=f"end that program, or set another {setting} in pyproject.toml",
        )
    raise EdgeError(
        f"port {port} cannot be used: {refusal.strerror}",
        details=[f"{bind}:{port}"],
        next_step=f"set another {setting} in pyproject.toml",
    )


def _bind_error(bind: str, port: int) -> OSError | None:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
            probe.listen(1)
        except OSError as error:
            return error
    return None


def holder(port: int, proc: Path = Path("/proc")) -> str:
    """`name (pid 123)` of the program that listens on the port; empty where it can't be determined (other users',
    macOS).
    """
    inodes = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _listeners(proc / "net" / table, port)}
    if not inodes:
        return ""
    for process in sorted(proc.glob("[0-9]*")):
        if inodes & _open_files(process):
            with contextlib.suppress(OSError):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return ""


def _open_files(process: Path) -> set[str]:
    """What the process has open, as far as it may be seen; descriptors come and go while they are looked at."""
    names = set()
    with contextlib.suppress(OSError):
        for link in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                names.add(str(link.readlink()))
    return names


def _listeners(table: Path, port: int) -> list[str]:
    try:
        rows = table.read_text().splitlines()[1:]
    except OSError:
        return []
    fields = [row.split() for row in rows]
    return [row[9] for row in fields if row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port]
