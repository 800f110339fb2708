"""Draining HAProxy processes: they were replaced, and still finish their connections.

A replaced process accepts no new weights ("Proxy is disabled"). It answers each of its connections once more and closes
it. So until it ends, a request may still reach a server that had weight at the replacement. The kit records its process
id before it replaces it. If the kit is killed in between, the next command signals the old process, which would
otherwise accept connections with old weights.
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

__all__ = ["DrainingProcess", "DrainingProcesses"]


@dataclass(frozen=True, kw_only=True)
class DrainingProcess:
    """A process, identified by process id and identity, and the servers that had weight in it."""

    pid: int
    identity: str
    servers: tuple[str, ...]
    signalled: bool = False


class DrainingProcesses:
    """The replaced processes of one edge, kept in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def alive(self) -> Sequence[DrainingProcess]:
        try:
            entries = [
                DrainingProcess(**{**item, "servers": tuple(item["servers"])})
                for item in json.loads(self._path.read_text())
            ]
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return ()
        return tuple(entry for entry in entries if is_same_process(entry.pid, entry.identity))

    def add(self, pid: int, servers: Sequence[str]) -> None:
        """Record that this process is about to be replaced."""
        entry = DrainingProcess(pid=pid, identity=process_identity(pid) or "", servers=tuple(servers))
        self._write([*(other for other in self.alive() if other.pid != pid), entry])

    def forget(self, pid: int) -> None:
        """Remove a process that was not replaced after all."""
        self._write([entry for entry in self.alive() if entry.pid != pid])

    def soft_stop(self, current: int | None) -> None:
        """Tell every replaced process but `current` to finish its connections and exit, if that has not been done."""
        entries = self.alive()
        if all(entry.signalled for entry in entries):
            return
        for entry in entries:
            if not entry.signalled and entry.pid != current:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(entry.pid, signal.SIGUSR1)
        self._write([replace(entry, signalled=True) for entry in entries if entry.pid != current])

    def _write(self, entries: Sequence[DrainingProcess]) -> None:
        content = json.dumps([asdict(entry) for entry in entries])
        write_atomically(self._path, content, mode=0o600, durable=True)
