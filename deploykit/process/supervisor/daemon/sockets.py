"""The programs' listening sockets."""

from __future__ import annotations

import contextlib
import errno
import os
import socket

from .protocol import Refused

_BACKLOG = 1024
_SYS_PIDFD_GETFD = 438  # the same number on every Linux architecture that CPython supports


def open_listener(address: str) -> socket.socket:
    """Listen on `host:port`. Raises Refused when it is taken or isn't an address of this machine."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))
        listener.listen(_BACKLOG)
    except (OSError, ValueError, OverflowError) as error:
        listener.close()
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        reason = "is taken by somebody else" if taken else f"can't be listened on: {error}"
        raise Refused("address", f"the address {address} {reason}") from None
    return listener


def fetch_listener(pidfd: int, address: str) -> socket.socket | None:
    """Get the listening socket back from a process that has it as descriptor 3 (Linux; the kernel may forbid it)."""
    if pidfd < 0:
        return None
    import ctypes  # hardly ever needed

    fd = ctypes.CDLL(None, use_errno=True).syscall(_SYS_PIDFD_GETFD, pidfd, 3, 0)
    if fd < 0:
        return None
    try:
        os.set_inheritable(fd, False)
        found = socket.socket(fileno=fd)
    except OSError:
        os.close(fd)
        return None
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError):
        if found.getsockname()[:2] == (host.strip("[]"), int(port)):
            return found
    found.close()
    return None
