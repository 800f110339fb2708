"""Recovery of the programs of an earlier supervisor: from its state file, and from sockets that it handed over."""

# ruff: noqa: PTH105, PTH118 - see `folder`

from __future__ import annotations

import os
import socket
import traceback

from .entry import Entry
from .folder import STATE
from .process import Process
from .sockets import fetch_listener
from .state import read_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .programs import Programs


def recover(programs: Programs, folder: str, listeners: Mapping[str, int]) -> None:
    """Fill `programs` from the state file, and start those that should run. `listeners` are descriptors by program."""
    for record in _records(folder):
        entry = _entry(record)
        programs.entries[entry.name] = entry
        if entry.name in listeners:
            entry.listener = socket.socket(fileno=listeners[entry.name])
            entry.listener.set_inheritable(False)
        elif entry.spec["listen"] and entry.process is not None:
            entry.listener = fetch_listener(entry.process.pidfd, entry.spec["listen"])
        for process in entry.processes():
            programs.watch(process)
    programs.reap()
    for entry in list(programs.entries.values()):
        if entry.stopping is not None:
            programs.stop(entry, entry.stopping)
        elif entry.process is None and entry.restart is None and entry.spec["keep_alive"]:
            programs.restart(entry)
    programs.save()


def _records(folder: str) -> list[dict[str, Any]]:
    try:
        return read_state(folder)
    except (ValueError, KeyError, TypeError):
        traceback.print_exc()
        os.replace(os.path.join(folder, STATE), os.path.join(folder, f"{STATE}.broken"))
        return []


def _entry(record: dict[str, Any]) -> Entry:
    entry = Entry(record["spec"])
    entry.exit_code = record["exit_code"]
    entry.restarts = record["restarts"]
    entry.started_at = record["started_at"]
    entry.stopping = record["stopping"]
    entry.process = Process.recover(record["process"]) if record["process"] else None
    entry.retired = [Process.recover(process) for process in record["retired"]]
    if record["candidate"]:
        _recover_candidate(entry, Process.recover(record["candidate"]), record["candidate_spec"])
    return entry


def _recover_candidate(entry: Entry, candidate: Process, spec: dict[str, Any]) -> None:
    """Finish an interrupted replacement: the new process becomes the program's if it is alive."""
    if candidate.alive():
        if entry.process is not None:
            entry.retired.append(entry.process)
        entry.process, entry.spec = candidate, spec
    else:
        entry.retired.append(candidate)
