"""HAProxy on this machine, kept by a supervisor: the edge of the targets `process` and (for now) nothing else.

See `weighted.py` for what is true while a change is made.
"""

from __future__ import annotations

import dataclasses
import os
import resource
import time
from typing import TYPE_CHECKING

from deploykit.edge.accesslog import earlier_mark, mark_of, read_lines
from deploykit.edge.binary import find_haproxy
from deploykit.edge.config import SOCKET, ConfigOptions, render
from deploykit.edge.errors import PortTaken
from deploykit.edge.leased import LeasedProxy
from deploykit.edge.ports import address, check_free, find_free
from deploykit.edge.process import ProxyProcess
from deploykit.edge.runtime import RuntimeAPI
from deploykit.edge.state import unreadable
from deploykit.edge.supervised_lease import SupervisedLease
from deploykit.model import DeploykitError, Problem
from deploykit.process.files import write_atomically
from deploykit.process.users import can_become_another, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from deploykit.edge.accesslog import Line
    from deploykit.edge.interface import EdgeOptions, Mark
    from deploykit.edge.state import EdgeState
    from deploykit.process.supervisor.client import Supervisor
    from deploykit.process.supervisor.interface import ProgramStatus

__all__ = ["HAProxyEdge"]


class HAProxyEdge(LeasedProxy):
    """Implements `deploykit.edge.interface.Edge`.

    `folder` is the edge's own (`StatePaths.edge`), `parts` holds copies of embedded programs (`StatePaths.parts`).
    `binary`: path of haproxy, empty to search for one. The others: `WeightedProxy`.
    """

    name = "haproxy"

    def __init__(  # noqa: PLR0913 - where it lives, what it runs, how it is reached; by keyword
        self,
        app: str,
        environment: str,
        folder: Path,
        port: int | None,
        supervisor: Supervisor,
        *,
        parts: Path,
        binary: str = "",
        options: EdgeOptions | None = None,
        bind: str = "127.0.0.1",
        hard_stop_after: float = 900.0,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(
            app,
            environment,
            folder,
            port,
            options=options,
            bind=bind,
            hard_stop_after=hard_stop_after,
            wait=wait,
        )
        self._parts = parts
        self._binary = binary
        self._file = folder / "haproxy.cfg"
        self._file_name = str(self._file)
        self._runtime = RuntimeAPI(folder / SOCKET)
        self._process = ProxyProcess(supervisor, folder, self._file, self._runtime, wait)
        self._keeper = SupervisedLease(supervisor, self._runtime.path)

    # -- what runs -----------------------------------------------------------------------------------------------

    def _ensure(self) -> EdgeState:
        state = self._state()
        status = self._process.status()
        if status is not None and status.alive and status.labels.get("listen") != self._listen(state):
            # The settings name another port, so the old one has to be closed.
            self._process.stop()
            status = None
        if status is not None and status.alive:
            self._process.await_ready(status)
            self._keep_maps(state)
            if self._render(self._with_running_weights(state)) != self._read():
                self._replace(status)
        else:
            self._start(state, fresh=status is None)
        return self._state()

    def preflight(self) -> Sequence[Problem]:
        try:
            find_haproxy(self._binary, self._parts)
            port = self._wanted_port or self._known_port()
            if port is not None and self._process.status() is None:
                check_free(self._bind, port, setting=f"environments.{self._environment}.port")
        except DeploykitError as error:
            return [Problem(error.message, error.next_step)]
        return []

    def running(self) -> bool:
        status = self._process.status()
        return status is not None and status.alive and self._runtime.pid() is not None

    def _down(self) -> None:
        self._process.stop()

    # -- traffic -------------------------------------------------------------------------------------------------

    def mark(self, *, seconds_ago: float = 0.0) -> Mark:
        now_ms = int(time.time() * 1000)
        return earlier_mark(now_ms - int(seconds_ago * 1000)) if seconds_ago else mark_of(self._process.log, now_ms)

    def _lines(self, since: Mark) -> tuple[Sequence[Line], Mark]:
        return read_lines(self._process.log, since)

    # -- the file ------------------------------------------------------------------------------------------------

    def _read(self) -> str | None:
        return self._read_file(self._file.name)

    def _read_file(self, name: str) -> str | None:
        file = self._folder / name
        try:
            return file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise unreadable(str(file), f"{type(error).__name__}: {error}") from None

    def _first_port(self) -> int:
        return find_free(self._bind, str(self._folder))

    def _settle(self) -> None:
        self._process.settle()

    def _is_supervised(self) -> bool:
        status = self._process.status()
        return status is not None and status.keep_alive

    def _draining_servers(self) -> Collection[str]:
        return self._process.draining_servers()

    def _render(self, state: EdgeState) -> str:
        return render(state, self._options())

    def _kept(self, name: str) -> str:
        return os.path.realpath(self._folder / (name or self._file.name))

    def _write_text(self, text: str) -> None:
        if self._user is not None:
            self._folder.chmod(0o711)  # the proxy is somebody else, who has to reach the socket of its successor
        self._write_file(self._file.name, text)

    def _write_file(self, name: str, text: str) -> None:
        # The proxy reads its files before it becomes somebody else.
        write_atomically(self._folder / name, text, mode=0o600, durable=True)

    def _options(self) -> ConfigOptions:
        user = self._user
        return ConfigOptions(
            app=self._app,
            environment=self._environment,
            maxconn=_maxconn(resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
            threads=min(os.cpu_count() or 1, 4),
            hard_stop_after=self._hard_stop_after,
            identity=(user, user) if user is not None else None,
            handover="mode 600" if user is None else f"mode 600 uid {user}",
        )

    @property
    def _user(self) -> int | None:
        """Whom root makes of the proxy: a program that parses untrusted input needs no privileges. None: itself."""
        return number_of(f"{self._app}/{self._environment} edge", self._parts.parent) if can_become_another() else None

    def _listen(self, state: EdgeState) -> str:
        return address(self._bind, state.port)

    # -- the process ---------------------------------------------------------------------------------------------

    def _start(self, state: EdgeState, *, fresh: bool) -> None:
        binary = find_haproxy(self._binary, self._parts).path
        if fresh:
            state = self._with_free_port(state)
        self._keep_maps(state)
        self._check(state, binary)
        self._write(state)
        self._process.start(self._listen(state), binary, fresh=fresh)

    def _known_port(self) -> int | None:
        """The port on which users were served before, if any were: another one would not be found by them."""
        state = self._state()
        return state.port if state.servers or state.past else None

    def _with_free_port(self, state: EdgeState) -> EdgeState:
        """The state, with another port if its own was found by us, is taken, and nobody was ever served on it.

        Raises PortTaken when the settings name the port, or users know it.
        """
        try:
            check_free(self._bind, state.port, setting=f"environments.{self._environment}.port")
        except PortTaken:
            if self._wanted_port is not None or state.servers or state.past:
                raise
            return dataclasses.replace(state, port=find_free(self._bind, f"{self._app}/{self._environment}"))
        return state

    def _replace(self, old: ProgramStatus) -> None:
        binary = find_haproxy(self._binary, self._parts).path
        state = self._with_running_weights(self._state())
        self._check(state, binary)
        self._write(state)
        weighted = [name for name, weight in state.weights.items() if weight]
        self._process.replace(old, self._listen(state), binary, weighted)

    def _check(self, state: EdgeState, binary: Path) -> None:
        # The supervisor's socket is not there in a check, and nothing is bound by it.
        self._process.check(render(state, self._options(), bind=self._listen(state)), binary)


def _maxconn(hard_limit: int) -> int:
    """Connections that the limit of open files allows: two descriptors each (user and application), and
    some to spare.
    """
    if hard_limit == resource.RLIM_INFINITY:
        return 10_000
    return max(50, min(10_000, (hard_limit - 200) // 2))
