"""The programs: start, restart, replacement and stop. The state is saved before each step."""

from __future__ import annotations

import functools
import os
import signal
import time

from .entry import Entry
from .logs import note
from .process import Process, fork_suspended
from .protocol import Connection, Refused
from .sockets import open_listener
from .state import status_of, write_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

    from .loop import Loop

_FIRST_DELAY = 0.1
_LONGEST_DELAY = 5.0
_STEADY_SECONDS = 10.0  # a process that ran this long starts again without the delays of earlier crashes
_POLL_SECONDS = 0.1  # only for recovered processes, and only where there is no pidfd
_LATE_CODE_SECONDS = 3.0
KILL_SECONDS = 10.0  # how long a process may take to exit after SIGKILL before a stop fails


class Programs:
    """All known programs by name, oldest first. `folder` holds the state file."""

    def __init__(self, folder: str, loop: Loop) -> None:
        self.entries: dict[str, Entry] = {}
        self.abandoned = False  # the folder is gone: the state is no longer saved
        self.ending: Callable[[], None] | None = None  # called when the last program has stopped
        self._folder = folder
        self._loop = loop

    def save(self) -> None:
        if not self.abandoned:
            write_state(self._folder, [entry.record() for entry in self.entries.values()])

    # ---- ends

    def watch(self, process: Process) -> None:
        """Watch for the exit of a recovered process. SIGCHLD reports the exits of children."""
        if process.child:
            return
        if process.pidfd >= 0:
            self._loop.watch(process.pidfd, self.reap)
        elif process.alive():
            self._loop.call_later(_POLL_SECONDS, lambda: self._poll(process))

    def _poll(self, process: Process) -> None:
        self.reap()
        if process.alive():
            self._loop.call_later(_POLL_SECONDS, lambda: self._poll(process))

    def reap(self) -> None:
        """Find the processes that have exited, and handle each exit."""
        for entry in list(self.entries.values()):
            for process in entry.processes():
                has_ended, code = process.ended()
                if has_ended:
                    if process.pidfd >= 0:
                        self._loop.unwatch(process.pidfd)
                    self._loop.call_safely(functools.partial(self._ended, entry, process, code))
                    if process.pidfd >= 0:
                        self._learn_code(entry, process, time.monotonic() + _LATE_CODE_SECONDS)

    def _learn_code(self, entry: Entry, process: Process, until: float) -> None:
        """Poll for the exit code of a recovered process, which init may not have reaped yet."""
        code = process.code_by_pidfd()
        if code is None and time.monotonic() < until:
            self._loop.call_later(_POLL_SECONDS, lambda: self._learn_code(entry, process, until))
            return
        process.close()
        if code is not None and entry.last_process is process and entry.exit_code is None:
            entry.exit_code = code
            self.save()

    def _ended(self, entry: Entry, process: Process, code: int | None) -> None:
        if process in entry.retired:
            entry.retired.remove(process)
        elif process is entry.candidate:
            self._drop_candidate(entry, code)
        else:
            entry.process = None
            entry.last_process = process
            entry.exit_code = code
        if entry.stopping is not None:
            self._finish_stop(entry)
            return
        if entry.process is None and entry.candidate is None and entry.spec["keep_alive"] and entry.restart is None:
            steady = time.time() - entry.started_at >= _STEADY_SECONDS
            entry.failures = 0 if steady else entry.failures
            self._restart_later(entry)
        self.save()

    # ---- start

    def start(self, spec: dict[str, Any], before: Entry | None) -> None:
        """Start a program that isn't alive, and replace its old entry if there is one. Raises Refused."""
        entry = Entry(spec)
        if before is not None:
            if before.restart is not None:
                before.restart.cancel()
            entry.retired = before.retired
            if before.spec["listen"] == spec["listen"]:
                entry.listener = before.listener
        if spec["listen"] and entry.listener is None:
            entry.listener = open_listener(spec["listen"])
        self.entries.pop(spec["name"], None)  # the newest is the last
        self.entries[spec["name"]] = entry
        try:
            self._spawn(spec, entry.listener, lambda process: self._set_process(entry, process))
        except Refused:
            if before is None or before.listener is not entry.listener:
                entry.close_listener()
            del self.entries[spec["name"]]
            if before is not None:
                self.entries[spec["name"]] = before
                if before.spec["keep_alive"]:
                    self._restart_later(before)
            self.save()
            raise
        if before is not None and before.listener is not entry.listener:
            before.close_listener()

    def _spawn(self, spec: dict[str, Any], listener: socket.socket | None, register: Callable[[Process], None]) -> None:
        """Start a process. `register` adds it to the state, which is saved before the process may run.
        Raises Refused.
        """
        try:
            process, start_fd, error_fd = fork_suspended(spec, listener)
        except OSError as error:
            raise Refused("start", f"{spec['name']} can't be started: {error}") from None
        register(process)
        with os.fdopen(error_fd, "rb") as pipe:
            try:
                self.save()
                os.write(start_fd, b"g")
            finally:
                os.close(start_fd)
            failure = pipe.read()  # ends when the program runs: the descriptor is closed by exec
        if failure:
            os.waitpid(process.pid, 0)
            raise Refused("exec", f"{spec['name']} can't be executed: {failure.decode('utf-8', 'replace')}")

    def _set_process(self, entry: Entry, process: Process) -> None:
        entry.process = process
        entry.last_process = None
        entry.exit_code = None
        entry.started_at = time.time()

    # ---- restart

    def keep_alive(self, entry: Entry, *, enabled: bool) -> None:
        entry.spec["keep_alive"] = enabled
        if not enabled:
            entry.cancel_restart()
        self.save()
        if enabled and entry.process is None and entry.restart is None and entry.stopping is None:
            self.restart(entry)

    def _restart_later(self, entry: Entry) -> None:
        delay = min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** min(entry.failures, 16))
        entry.failures += 1
        entry.restart = self._loop.call_later(delay, lambda: self.restart(entry))

    def restart(self, entry: Entry) -> None:
        """Restart a program that has exited, with the same specification. If that fails, try again later."""
        entry.restart = None
        if self.entries.get(entry.name) is not entry or entry.process is not None or entry.stopping is not None:
            return
        entry.restarts += 1
        try:
            if entry.spec["listen"] and entry.listener is None:
                entry.listener = open_listener(entry.spec["listen"])
            self._spawn(entry.spec, entry.listener, lambda process: self._set_process(entry, process))
        except Refused as error:
            entry.process = None
            entry.exit_code = 127
            note(entry.spec["log"], f"it can't be started again: {error}")
            self._restart_later(entry)
            self.save()

    # ---- replace

    def replace(self, connection: Connection, entry: Entry, spec: dict[str, Any], ready: float) -> None:
        """Start a second process, which becomes the program's after `ready` seconds. Answers then. Raises Refused."""
        listener = entry.listener
        if spec["listen"] and (listener is None or spec["listen"] != entry.spec["listen"]):
            listener = open_listener(spec["listen"])
        elif not spec["listen"]:
            listener = None
        entry.candidate_spec = spec
        entry.candidate_listener = listener

        def register(process: Process) -> None:
            entry.candidate = process

        try:
            self._spawn(spec, listener, register)
        except Refused:
            entry.candidate = entry.candidate_spec = None
            entry.close_candidate_listener()
            self.save()
            raise
        entry.replace_client = connection
        if ready <= 0:
            self._commit(entry)
            return
        connection.wait(ready)
        entry.deadline = self._loop.call_later(ready, lambda: self._commit(entry))

    def _commit(self, entry: Entry) -> None:
        """Make the second process the program's."""
        if entry.candidate is None or entry.candidate_spec is None:
            return
        if entry.process is not None:
            entry.retired.append(entry.process)
        entry.process, entry.spec = entry.candidate, entry.candidate_spec
        if entry.listener is not entry.candidate_listener:
            entry.close_listener()
            entry.listener = entry.candidate_listener
        entry.candidate = entry.candidate_spec = entry.candidate_listener = None
        entry.exit_code = None
        entry.started_at = time.time()
        self.save()
        if entry.replace_client is not None:
            entry.replace_client.answer(status_of(entry.record()))
        entry.end_replacement()

    def _drop_candidate(self, entry: Entry, code: int | None) -> None:
        entry.candidate = entry.candidate_spec = None
        entry.close_candidate_listener()
        if entry.replace_client is not None:
            before = "; the one before goes on" if entry.process is not None else ", and so did the one before"
            entry.replace_client.refuse("ended", f"the new process of {entry.name} ended with exit code {code}{before}")
        entry.end_replacement()

    # ---- stop

    def stop(self, entry: Entry, timeout: float) -> None:
        """End every process of the program; `_finish_stop` follows. If called twice, the shorter timeout applies."""
        entry.cancel_restart()
        if entry.stopping is None:
            entry.cancel_deadline()  # the replacement's
        entry.stopping = timeout
        self.save()
        self.reap()
        if self.entries.get(entry.name) is not entry:
            return
        for process in entry.processes():
            process.kill_group(entry.spec["stop_signal"])
            process.kill_group(signal.SIGCONT)
        if entry.deadline is None or time.monotonic() + timeout < entry.deadline.when:
            entry.cancel_deadline()
            entry.deadline = self._loop.call_later(timeout, lambda: self._kill(entry))
        self._finish_stop(entry)

    def _kill(self, entry: Entry) -> None:
        for process in entry.processes():
            process.kill_group(signal.SIGKILL)
            process.kill(signal.SIGKILL)

    def _finish_stop(self, entry: Entry) -> None:
        """Forget a stopped program once all its processes have exited."""
        if entry.processes() or self.entries.get(entry.name) is not entry:
            return
        entry.cancel_deadline()
        entry.close_listener()
        entry.close_candidate_listener()
        del self.entries[entry.name]
        self.save()
        if entry.replace_client is not None:
            entry.replace_client.refuse("ended", f"{entry.name} was stopped meanwhile")
        for connection in entry.stop_clients:
            connection.answer(None)
        entry.run_pending()
        if self.ending is not None:
            self._stop_next(self.ending)

    # ---- shutdown

    def stop_all(self, then: Callable[[], None]) -> None:
        """Stop every program, the newest first, and then call `then`."""
        self.ending = then
        self._stop_next(then)

    def longest_shutdown(self) -> float:
        """The longest time in seconds that `stop_all` may take."""
        return sum((entry.spec["stop_timeout"] + KILL_SECONDS for entry in self.entries.values()), 5.0)

    def _stop_next(self, then: Callable[[], None]) -> None:
        if not self.entries:
            then()
            return
        newest = list(self.entries.values())[-1]
        if newest.stopping is None:
            self.stop(newest, newest.spec["stop_timeout"])
