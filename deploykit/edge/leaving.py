"""HAProxy processes that were replaced and still finish what they have.

A replaced process can't be told new weights any more ("Proxy is disabled"). It answers each of its connections once
more and closes it, so until it has ended a request may still reach a server that had weight when it was replaced.
Its process id is written down before it is replaced, so that a kit killed in between leaves no proxy behind that goes
on taking connections with old weights: the next command signals it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from deploykit.process.files import write_atomically
from deploykit.process.supervisor.daemon.identity import is_same_process, process_identity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Leaving", "LeavingList"]


@dataclass(frozen=True, kw_only=True)
class Leaving:
    """A process, named by its id and its identity, and the servers that had weight in it."""

    pid: int
    identity: str
    servers: tuple[str, ...]
    signalled: bool = False


class LeavingList:
    """The replaced processes of one edge, kept in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def alive(self) -> Sequence[Leaving]:
        try:
            entries = [
                Leaving(**{**item, "servers": tuple(item["servers"])}) for item in json.loads(self._path.read_text())
            ]
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return ()
        return tuple(entry for entry in entries if is_same_process(entry.pid, entry.identity))

    def add(self, pid: int, servers: Sequence[str]) -> None:
        """Note that this process is about to be replaced."""
        entry = Leaving(pid=pid, identity=process_identity(pid) or "", servers=tuple(servers))
        self._write([*(other for other in self.alive() if other.pid != pid), entry])

    def forget(self, pid: int) -> None:
        """The process was not replaced after all."""
        self._write([entry for entry in self.alive() if entry.pid != pid])

    def dismiss(self, current: int | None) -> None:
        """Ask every replaced process that was not asked yet to finish and end; `current` is the one that stays."""
        entries = self.alive()
        if all(entry.signalled for entry in entries):
            return
        for entry in entries:
            if not entry.signalled and entry.pid != current:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(entry.pid, signal.SIGUSR1)
        self._write([replace(entry, signalled=True) for entry in entries if entry.pid != current])

    def _write(self, entries: Sequence[Leaving]) -> None:
        content = json.dumps([asdict(entry) for entry in entries])
        write_atomically(self._path, content, mode=0o600, durable=True)
