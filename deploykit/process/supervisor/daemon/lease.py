"""A lease: what the daemon does by itself when nobody renews it, since who should do it is gone.

It is a record of the kit's: commands for the runtime socket of a proxy, the answers that show that they were done, and
the content of files. The daemon knows no more of the proxy than that. After the lease has ended, it sends the commands
and writes the files every second, until the kit takes over. That also covers a proxy that is down at that moment, is
replaced, or is changed by a kit that was suspended.

The record is saved in a file. The lease ends by a clock that counts the time in which the machine is suspended. If the
end could not be saved, the clock shows it again.
"""

# ruff: noqa: PTH105, PTH108, PTH118, PTH123 - see `folder`

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
import traceback

from .clock import clock, seconds_left

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .loop import Loop
    from .programs import Programs

LEASE = "lease.json"
_LOOK_SECONDS = 1.0
_ROUND_SECONDS = 0.5
"""What a proxy that does not answer may cost the daemon's other work, each second."""
_SEEN = ("id", "seconds", "ends_at", "ended_at", "holds", "weights")
_TO_DO = ("weights", "batches", "files")
_RECORD = {*_SEEN, *_TO_DO, "clock", "socket", "program", "finish_signal"}


class Lease:
    """The lease of `folder`, if there is one. Every method returns what a client may know of it, None where it is none.

    `holds`: it runs, or it has ended and its proxy and files are kept as it says.
    """

    def __init__(self, folder: str, loop: Loop, programs: Programs) -> None:
        self._folder = folder
        self._path = os.path.join(folder, LEASE)
        self._loop = loop
        self._programs = programs
        self._record: dict[str, Any] | None = None
        self._looking = False
        self._signalled: set[tuple[int, str]] = set()
        self._trouble = ""

    def recover(self) -> None:
        """Go on with the lease of an earlier daemon. One that has ended has its files in place when this returns, so
        that no program starts with others.
        """
        try:
            self._record = _read(self._path)
        except ValueError:
            traceback.print_exc()
            os.replace(self._path, f"{self._path}.broken")
        self._look()

    # ---- requests

    def show(self) -> dict[str, Any] | None:
        self._end_if_due()
        return _seen(self._record)

    def grant(self, record: dict[str, Any]) -> dict[str, Any] | None:
        """Begin a lease of `record["seconds"]`. One that is there is replaced."""
        self._save({**record, "ended_at": None, "holds": True, **_from_now(record["seconds"])})
        self._look_later()
        return _seen(self._record)

    def prepare(self, changed: dict[str, Any]) -> dict[str, Any] | None:
        """Change what is done at the end: weights, commands and files."""
        if self._record is not None:
            self._save({**self._record, **{key: changed[key] for key in _TO_DO}})
        return self.show()

    def renew(self, lease_id: str) -> dict[str, Any] | None:
        """Have it end so many seconds from now, unless it has ended, or is another one (`lease_id` "": any)."""
        self._end_if_due()
        record = self._record
        if record is not None and record["ended_at"] is None and lease_id in ("", record["id"]):
            self._save({**record, **_from_now(record["seconds"])})
        return _seen(self._record)

    def end(self) -> dict[str, Any] | None:
        """Forget it if it runs; one that has ended stays. Returns it as it was."""
        self._end_if_due()
        found = _seen(self._record)
        if found is not None and found["ended_at"] is None:
            self.forget()
        return found

    def take_over(self) -> dict[str, Any] | None:
        """Stop doing what an ended one says: from now on the kit does."""
        if self._record is not None and self._record["ended_at"] is not None:
            self._save({**self._record, "holds": False})
        return _seen(self._record)

    def forget(self) -> None:
        self._record = None
        forget_lease(self._folder)

    # ---- what it does by itself

    def _look_later(self) -> None:
        if not self._looking:
            self._looking = True
            self._loop.call_later(_LOOK_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self._looking = False
        self._look()

    def _look(self) -> None:
        if self._record is None or not self._record["holds"]:
            return
        self._look_later()
        self._end_if_due()
        if self._record["ended_at"] is not None:
            self._restore(self._record)

    def _end_if_due(self) -> None:
        record = self._record
        if record is not None and record["ended_at"] is None and _is_due(record):
            self._record = {**record, "ended_at": time.time()}
            try:
                self._save(self._record)
            except OSError as error:  # the clock says it again to the next daemon
                self._note(error)

    def _restore(self, record: dict[str, Any]) -> None:
        """Send the record's commands and write its files. What fails is tried again in a second."""
        deadline = time.monotonic() + _ROUND_SECONDS
        try:
            for batch in record["batches"]:
                _ask(record["socket"], batch["commands"], deadline)
                if not _holds(_ask(record["socket"], [check for check, _ in batch["checks"]], deadline), batch):
                    break  # nothing is lowered before something else was raised
            else:
                self._end_retired(record, deadline)
        except OSError:  # it is down, or hangs: the files are for its next start
            pass
        try:
            for path, content in record["files"]:
                _write(path, content)
        except OSError as error:
            self._note(error)
        else:
            self._trouble = ""

    def _end_retired(self, record: dict[str, Any], deadline: float) -> None:
        """Ask the processes that the one on the socket has replaced to finish: they share the traffic in their own way,
        and the kit may have been killed before it asked them.
        """
        entry = self._programs.entries.get(record["program"])
        if entry is None or entry.process is None or not entry.retired:
            return
        if f"Pid: {entry.process.pid}" not in _ask(record["socket"], ["show info"], deadline):
            return
        for process in entry.retired:
            if (process.pid, process.identity) not in self._signalled:
                self._signalled.add((process.pid, process.identity))
                process.kill(record["finish_signal"])

    # ---- its file

    def _save(self, record: dict[str, Any]) -> None:
        _write(self._path, json.dumps(record))
        self._record = record

    def _note(self, error: OSError) -> None:
        """Into the daemon's log, once."""
        if str(error) != self._trouble:
            self._trouble = str(error)
            traceback.print_exception(error)


def read_lease(folder: str) -> dict[str, Any] | None:
    """What a client may know of a folder's lease while no daemon runs. One that is over has `ended_at` already."""
    try:
        record = _read(os.path.join(folder, LEASE))
    except ValueError:
        return None
    if record is not None and record["ended_at"] is None and _is_due(record):
        record["ended_at"] = record["ends_at"]
    return _seen(record)


def forget_lease(folder: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(folder, LEASE))


def _read(path: str) -> dict[str, Any] | None:
    try:
        with open(path, encoding="utf-8") as file:
            record: dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return None
    if not isinstance(record, dict) or not record.keys() >= _RECORD:
        raise ValueError("no lease")
    return record


def _seen(record: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if record is None else {key: record[key] for key in _SEEN}


def _from_now(seconds: float) -> dict[str, Any]:
    boot, now = clock()
    return {"clock": [boot, now + seconds], "ends_at": time.time() + seconds}


def _is_due(record: dict[str, Any]) -> bool:
    boot, until = record["clock"]
    return seconds_left(boot, until) <= 0


def _ask(path: str, commands: list[str], deadline: float) -> str:
    """What the proxy answers. Raises OSError when it does not by the deadline (of the monotonic clock)."""
    answer = b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(max(0.01, deadline - time.monotonic()))
        client.connect(path)
        client.sendall((";".join(commands) + "\n").encode())
        while True:
            client.settimeout(max(0.01, deadline - time.monotonic()))
            data = client.recv(65_536)
            if not data:
                return answer.decode("utf-8", "replace")
            answer += data


def _holds(answer: str, batch: dict[str, Any]) -> bool:
    """Whether the answers, a line each, begin in one of the ways that the checks allow."""
    lines = [line for line in answer.splitlines() if line.strip()]
    checks = batch["checks"]
    return len(lines) == len(checks) and all(
        line.startswith(tuple(expected)) for line, (_, expected) in zip(lines, checks, strict=True)
    )


def _write(path: str, content: str) -> None:
    """Replace the file, whole and on the disk, unless it says that already."""
    data = content.encode()
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        if file.read() == data:
            return
    fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.new", path)
