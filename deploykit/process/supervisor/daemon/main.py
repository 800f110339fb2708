"""The start of the supervisor, also after a handover."""

from __future__ import annotations

import json
import os
import socket
import traceback

from .folder import take_lock
from .protocol import ANOTHER_RUNS
from .recovery import recover
from .requests import Daemon

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def main(arguments: list[str]) -> int:
    """Run for the folder `arguments[0]`. Exit codes: 0 when a new supervisor listens, 3 when one was running already.

    With a second argument it continues after a handover, in this process.
    """
    folder = arguments[0]
    os.umask(0o077)
    os.chdir(folder)
    if len(arguments) > 1:
        inherited = json.loads(arguments[1])
        _reserve_3()
        for fd in (inherited["lock"], inherited["server"], *inherited["listeners"].values()):
            os.set_inheritable(fd, False)
        _serve(folder, inherited["lock"], inherited, lambda: None)
        return 0
    os.closerange(3, 4096)
    _reserve_3()
    lock = take_lock(folder)
    if lock < 0:
        return ANOTHER_RUNS
    ready_read, ready_write = os.pipe()
    if os.fork():
        os.close(ready_write)
        return 0 if os.read(ready_read, 1) else 1
    os.close(ready_read)
    os.setsid()

    def ready() -> None:
        os.write(ready_write, b"r")
        os.close(ready_write)

    try:
        _serve(folder, lock, {}, ready)
    except Exception:  # noqa: BLE001
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _serve(folder: str, lock: int, inherited: Mapping[str, Any], ready: Callable[[], None]) -> None:
    daemon = Daemon(folder, lock)
    server = inherited.get("server", -1)
    daemon.open(socket.socket(fileno=server) if server >= 0 else None)
    ready()
    daemon.lease.recover()
    recover(daemon.programs, folder, inherited.get("listeners", {}))
    daemon.run()


def _reserve_3() -> None:
    """Keep descriptor 3 free of our files: it is the listening socket in every child."""
    fd = os.open(os.devnull, os.O_RDONLY)
    if fd != 3:
        os.dup2(fd, 3, inheritable=False)
        os.close(fd)
