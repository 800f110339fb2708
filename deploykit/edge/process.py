"""HAProxy as a process: start, replacement without loss, readiness, and the check of its configuration."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from deploykit.edge.draining import DrainingProcesses
from deploykit.edge.errors import ConfigRejected, EdgeError
from deploykit.process.files import write_atomically
from deploykit.process.run import run
from deploykit.process.supervisor.interface import Program, ProgramStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from deploykit.edge.runtime import RuntimeAPI
    from deploykit.process.supervisor.client import Supervisor

__all__ = ["PROGRAM", "ProxyProcess"]

PROGRAM = "edge"
"""The proxy's name in the supervisor."""

_READY_SECONDS = 10.0
_REPLACED_SECONDS = 0.1
_ATTEMPTS = 3
"""A proxy that ended so often while it was waited for will not come up."""


class ProxyProcess:
    """The proxy's process under `supervisor`: it works in `folder`, reads `file` and answers on `runtime`."""

    def __init__(
        self, supervisor: Supervisor, folder: Path, file: Path, runtime: RuntimeAPI, wait: Callable[[float], None]
    ) -> None:
        self.log = folder / "haproxy.log"
        self.draining = DrainingProcesses(folder / "draining.json")
        self._supervisor = supervisor
        self._folder = folder
        self._file = file
        self._runtime = runtime
        self._wait = wait

    def status(self) -> ProgramStatus | None:
        return self._supervisor.status(PROGRAM)

    def program(self, listen: str, binary: Path) -> Program:
        return Program(
            name=PROGRAM,
            argv=(str(binary), "-db", "-f", str(self._file)),
            cwd=self._folder,
            env={"PATH": os.defpath},
            log=self.log,
            # HAProxy sets its output to be non-blocking, and nothing else: a file is no longer appended to then, but
            # written from where this process was (log.c, fcntl with F_SETFL). Two would overwrite each other's lines.
            piped=True,
            keep_alive=True,
            listen=listen,
            labels={"listen": listen},
        )

    def start(self, listen: str, binary: Path, *, fresh: bool) -> None:
        """Start it and wait until it answers. `fresh`: it was not known, and is forgotten again if it does not come up.

        Raises EdgeError with the last lines of its log.
        """
        try:
            self.await_ready(self._supervisor.start(self.program(listen, binary)))
        except BaseException:
            if fresh:
                self._supervisor.stop(PROGRAM)
            raise

    def replace(self, old: ProgramStatus, listen: str, binary: Path, weighted: Sequence[str]) -> None:
        """A new process takes the listening socket over, then the old one is asked to finish and end.

        `weighted` are the servers that the old one may still send a request to. Not by HAProxy's own `-sf PID`: the
        supervisor would say that again at every restart, when that process id may be anybody's.
        Raises EdgeError when the new process does not answer; the old one goes on then.
        """
        if old.pid is None:
            raise EdgeError("HAProxy ended while it was to be replaced", details=self._last_lines())
        self.draining.add(old.pid, weighted)
        try:
            new = self._supervisor.replace(self.program(listen, binary), ready=_REPLACED_SECONDS)
            self.await_ready(new)
        except BaseException:
            current = self.status()
            if current is not None and current.pid == old.pid:
                self.draining.forget(old.pid)
            raise

    def stop(self) -> None:
        """End it, and what it replaced."""
        self.draining.soft_stop(None)
        self._supervisor.stop(PROGRAM)

    def settle(self) -> None:
        """Make sure that exactly one process routes requests, and that it is the one on the runtime socket."""
        status = self.status()
        if status is None:
            raise EdgeError("the edge does not run", next_step="release again: it is started then")
        self.await_ready(status)

    def await_ready(self, status: ProgramStatus) -> None:
        """Wait until the process answers on its socket, then ask those that it replaced to finish and end."""
        deadline = time.monotonic() + _READY_SECONDS
        current: ProgramStatus | None = status
        while current is not None and current.restarts < status.restarts + _ATTEMPTS and time.monotonic() < deadline:
            if current.pid is not None and self._runtime.pid() == current.pid:
                self.draining.soft_stop(current.pid)
                return
            self._wait(0.003)
            current = self.status()
        code = current.exit_code if current is not None else None
        raise EdgeError(
            "HAProxy did not start" + (f", exit code {code}" if code is not None else ""),
            details=self._last_lines(),
            next_step=f"see {self.log}",
        )

    def draining_servers(self) -> frozenset[str]:
        """Servers that a replaced process may still send one more request of each of its connections to."""
        draining = self.draining.alive()
        current = self._runtime.pid() if draining else None
        return frozenset(name for entry in draining if entry.pid != current for name in entry.servers)

    def check(self, text: str, binary: Path) -> None:
        """Ask HAProxy itself whether the configuration is good. Raises ConfigRejected with its own lines."""
        draft = self._folder / "check.cfg"
        write_atomically(draft, text, mode=0o600)
        try:
            done = run([binary, "-c", "-f", draft], cwd=self._folder, timeout=20, check=False)
        finally:
            draft.unlink(missing_ok=True)
        if done.returncode != 0:
            raise ConfigRejected(
                "HAProxy refuses the configuration that was written for it",
                details=[line for line in (done.stderr + done.stdout).splitlines() if line.strip()][-20:],
                next_step=f"see whether {binary} is a plain HAProxy 2.6 or later: {binary} -vv",
            )

    def _last_lines(self) -> list[str]:
        try:
            return self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
        except FileNotFoundError:
            return []
