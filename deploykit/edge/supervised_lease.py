"""The lease of a proxy on this machine: the supervisor keeps it (`process/supervisor/daemon/lease.py`)."""

from __future__ import annotations

import os
import signal
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from deploykit.edge.lease import KeptLease
from deploykit.edge.process import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deploykit.edge.lease import Restoration
    from deploykit.process.supervisor.client import Supervisor

__all__ = ["SupervisedLease"]


class SupervisedLease:
    """Implements `LeaseKeeper`. `socket` is the proxy's."""

    def __init__(self, supervisor: Supervisor, socket: Path) -> None:
        self._supervisor = supervisor
        self._socket = socket

    def read(self) -> KeptLease | None:
        return _kept(self._supervisor.lease("show"))

    def grant(self, lease_id: str, seconds: float, restoration: Restoration) -> None:
        # The supervisor works in its own folder. From there the path is short: a socket's has at most 107 bytes.
        socket = os.path.relpath(os.path.realpath(self._socket), os.path.realpath(self._supervisor.folder))
        record = {
            "id": lease_id,
            "seconds": seconds,
            "socket": socket,
            "program": PROGRAM,
            "finish_signal": int(signal.SIGUSR1),
            **asdict(restoration),
        }
        self._supervisor.lease("grant", lease=record)

    def prepare(self, restoration: Restoration) -> None:
        self._supervisor.lease("prepare", lease=asdict(restoration))

    def renew(self, lease_id: str) -> KeptLease | None:
        return _kept(self._supervisor.lease("renew", id=lease_id))

    def end(self) -> KeptLease | None:
        # Where there is none, no supervisor is started to say so.
        return _kept(self._supervisor.lease("end")) if self._supervisor.lease("show") is not None else None

    def take_over(self) -> None:
        self._supervisor.lease("take_over")

    def forget(self) -> None:
        self._supervisor.lease("forget")


def _kept(answer: Mapping[str, Any] | None) -> KeptLease | None:
    return None if answer is None else KeptLease(**answer)
