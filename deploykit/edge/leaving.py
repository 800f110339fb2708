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
import subprocess
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from deploykit.edge.files import write_synced

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Leaving", "LeavingList", "birth"]


@dataclass(frozen=True, kw_only=True)
class Leaving:
    """A process, when it was born (process ids are used again), and the servers that had weight in it."""

    pid: int
    born: str
    servers: tuple[str, ...]
    signalled: bool = False


def birth(pid: int) -> str:
    """Something that differs between two processes of the same id; empty when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return ""
        asked = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return asked.stdout.strip()
    except OSError:
        return ""
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state in "ZX" else fields[18]


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
        return tuple(entry for entry in entries if entry.born and birth(entry.pid) == entry.born)

    def add(self, pid: int, servers: Sequence[str]) -> None:
        """Note that this process is about to be replaced."""
        entry = Leaving(pid=pid, born=birth(pid), servers=tuple(servers))
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
        write_synced(self._path, json.dumps([asdict(entry) for entry in entries]))
