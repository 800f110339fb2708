"""What every HAProxy at the edge has in common, wherever it runs: its servers, their weights, and their file.

Which is right when they differ, the running proxy or its file? A call changes the running proxy, reads the change back,
and then writes it to the file; only then does it return. If it is killed in between:

- raise, not lowered: both versions have traffic, both are alive (nothing is stopped before the call returned).
- lowered, file old: the proxy has the new weights. Should it die now, it comes back with the old weights: its traffic
  goes to the version that had it a moment ago, which is alive for the same reason.
- file written, call not returned: both say the same.

So the file is at most one step *behind*, towards a version that is alive, and its total weight is never 0. It is never
ahead: a weight that the proxy refused is not written. `attach` writes first: a server of weight 0 in the file is
harmless, but one that only the proxy knows could receive weight and be lost. `detach` writes first, too: the next call
removes a server of weight 0 from the proxy. A replacement first writes the running weights into the file, so it does
not undo an interrupted step.

Routes and the maintenance page (`routed.py`) are two maps in files of their own beside it. They are changed in the same
order: in the running proxy, where all entries of a map are replaced in one step, then in the file. So a map's file is
at most one step behind, too. The proxy reads it at its start, and the kit writes both before a configuration that names
them. No order of the three files can lose a request: a route is tried first and is no more than that, so one to a
server that is not there, or not any more, is passed over. `detach` removes the routes to a server from the proxy and
from the file before it asks for the requests in flight, since new ones could come by a route until then. A replacement
writes the running maps into the files first, as it does the weights.

If a proxy dies during a call, its supervisor (or the engine) restarts it with the weights in the file. The call waits
for that and starts from the beginning, since the proxy may have lost half of the changes.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from deploykit.edge.config import PROBE_HEADER, check_server
from deploykit.edge.errors import EdgeError, RuntimeUnreachable
from deploykit.edge.interface import EdgeOptions, Server, ServerState
from deploykit.edge.ports import address
from deploykit.edge.state import EdgeState, parse_state
from deploykit.process.files import flocked

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from deploykit.edge.runtime import RuntimeAPI

__all__ = ["MAX_WEIGHT", "WeightedProxy"]

_Result = TypeVar("_Result")

_UP_SECONDS = 3.0
_RETRIES = 3
"""A proxy may die so often during one call, which then starts again. After that the call fails."""
MAX_WEIGHT = 256


class WeightedProxy(ABC):
    """Servers and weights of one HAProxy, in the running proxy and in its file. Subclasses say where both are.

    `folder` is this machine's, for its lock at least. `port` None: one is found and kept. `options` None: those in the
    file, the defaults at first. `bind`: the address to listen on. `hard_stop_after`: seconds that a replaced process
    may take for its connections. `wait` sleeps for so many seconds; it may raise Cancelled. `_file_name` is the
    file's name in messages.
    """

    _file_name: str

    _runtime: RuntimeAPI
    _probes_sent: int = 0

    def __init__(  # noqa: PLR0913 - which edge, and how it is reached; by keyword
        self,
        app: str,
        environment: str,
        folder: Path,
        port: int | None,
        *,
        options: EdgeOptions | None,
        bind: str,
        hard_stop_after: float,
        wait: Callable[[float], None],
    ) -> None:
        self._app = app
        self._environment = environment
        self._folder = folder
        self._wanted_port = port
        self._wanted_options = options
        self._bind = bind
        self._hard_stop_after = hard_stop_after
        self._wait = wait

    @abstractmethod
    def running(self) -> bool: ...

    @abstractmethod
    def _ensure(self) -> EdgeState:
        """Have the proxy running with what is wanted now; the state that it has then."""

    @abstractmethod
    def _down(self) -> None: ...

    @abstractmethod
    def _read(self) -> str | None:
        """The file; None before it was written for the first time."""

    @abstractmethod
    def _read_file(self, name: str) -> str | None:
        """A file beside it; None where it is not there."""

    @abstractmethod
    def _write_file(self, name: str, text: str) -> None:
        """Replace a file beside it; it is on the disk when this returns."""

    @abstractmethod
    def _remove_routes(self, name: str) -> None:
        """Send no more requests to the server of that name by a route."""

    @abstractmethod
    def _first_port(self) -> int:
        """The port for an edge that has none yet, and whose settings name none."""

    @abstractmethod
    def _write(self, state: EdgeState) -> None:
        """Write the file; it is on the disk when this returns."""

    @abstractmethod
    def _settle(self) -> None:
        """Make sure that exactly one process routes requests, and that it is the one on the runtime socket."""

    @abstractmethod
    def _is_supervised(self) -> bool:
        """Whether the supervisor or the engine restarts the proxy if it has just died."""

    @abstractmethod
    def _draining_servers(self) -> Collection[str]:
        """Servers that a replaced process may still send one more request of each of its connections to."""

    # -- what runs -----------------------------------------------------------------------------------------------

    def ensure(self) -> str:
        with self._locked():
            return self._url(self._retry(self._ensure))

    def down(self) -> None:
        with self._locked():
            self._down()

    def url(self) -> str:
        with self._locked():
            return self._url(self._state())

    def _url(self, state: EdgeState) -> str:
        loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # nosec B104 - compared, not bound
        reached = loopback.get(self._bind, self._bind)
        return f"http://{address(reached, state.port)}"

    def _locked(self) -> AbstractContextManager[None]:
        """The lock for changes: one change at a time on this machine."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return flocked(self._folder / "lock", wait=self._wait)

    def _state(self) -> EdgeState:
        """The state in the file; before there is one, what is to be written by the first start."""
        text = self._read()
        if text is None:
            import secrets  # 20 ms, once in an environment's life

            return EdgeState(
                port=self._wanted_port or self._first_port(),
                token=secrets.token_hex(16),
                options=self._wanted_options or EdgeOptions(),
                servers={},
                past={},
            )
        state = parse_state(text, source=self._file_name)
        return replace(state, port=self._wanted_port or state.port, options=self._wanted_options or state.options)

    def clear(self) -> None:
        """Forget every server, for an edge that is down together with all it pointed to. The port is kept.

        Raises EdgeError while the proxy runs.
        """
        with self._locked():
            if self.running():
                raise EdgeError("the edge still runs, so its servers are not forgotten", next_step="stop it first")
            state = self._state()
            self._write(state.without(state.servers))

    # -- servers -------------------------------------------------------------------------------------------------

    def servers(self) -> Sequence[ServerState]:
        return self._retry(self._servers, locked=False)

    def _servers(self) -> Sequence[ServerState]:
        state, running = self._state(), self._runtime.servers()
        # A replaced process may still send one more request of each of its connections to what had weight in it.
        draining_servers = self._draining_servers()
        return tuple(
            ServerState(
                server=entry.server,
                weight=running[name].weight,
                in_flight=running[name].in_flight + (name in draining_servers),
                up=running[name].up,
            )
            for name, entry in state.servers.items()
            if name in running
        )

    def attach(self, server: Server) -> None:
        check_server(server)
        with self._locked():
            self._retry(lambda: self._attach(server))

    def _attach(self, server: Server) -> None:
        state = self._state()
        known = state.servers.get(server.name)
        if known is None or known.server != server:
            self._write(state.with_server(server, known.weight if known is not None else 0))
        self._settle()
        self._runtime.add(server)

    def detach(self, name: str, *, force: bool = False) -> None:
        with self._locked():
            self._retry(lambda: self._detach(name, force=force))

    def _detach(self, name: str, *, force: bool) -> None:
        state = self._state()
        running = self._runtime.servers() if self.running() else {}
        known = running.get(name) or state.servers.get(name)
        if known is not None and known.weight:
            raise EdgeError(f"{name} still has weight {known.weight}, so it is not taken from the edge")
        self._remove_routes(name)
        found = self._runtime.servers().get(name) if running else None
        if found is not None and found.in_flight and not force:
            raise EdgeError(f"{name} still has {found.in_flight} requests in flight")
        if name in state.servers:
            self._write(state.without([name]))
        if found is not None:
            self._runtime.remove(name)

    def set_weights(self, weights: Mapping[str, int]) -> None:
        if bad := [f"{name}={weight}" for name, weight in weights.items() if not 0 <= weight <= MAX_WEIGHT]:
            raise ValueError(f"a weight is 0 to {MAX_WEIGHT}: {', '.join(bad)}")
        with self._locked():
            self._retry(lambda: self._set_weights(weights))

    def _set_weights(self, weights: Mapping[str, int]) -> None:
        state = self._state()
        if unknown := sorted(set(weights) - set(state.servers)):
            raise EdgeError(f"the edge has no server {', '.join(unknown)}", next_step="attach it first")
        self._settle()
        for name in set(weights) - set(self._runtime.servers()):
            self._runtime.add(state.servers[name].server)
        before = {name: server.weight for name, server in self._runtime.servers().items()}
        after = {**before, **weights}
        if not any(after.values()):
            raise ValueError("the total weight would be 0: nobody would get an answer")
        self._await_up(after)
        self._runtime.set_weights({n: w for n, w in weights.items() if w > before[n]})
        read = self._runtime.set_weights({n: w for n, w in weights.items() if w < before[n]})
        if any(name not in read or read[name].weight != weight for name, weight in after.items()):
            # Started again between the two, so what was raised is forgotten.
            raise RuntimeUnreachable("HAProxy ended while its weights were set")
        self._write(state.with_weights(after))

    def probe_headers(self, release: str) -> Mapping[str, str]:
        """Names one server of the release; the next call names its next one, so ask once for each probe."""
        state = self._state()
        names = sorted(name for name, entry in state.servers.items() if entry.server.release == release)
        if not names:
            raise EdgeError(f"the edge has no server of release {release}", next_step="attach it first")
        self._probes_sent += 1
        return {PROBE_HEADER: f"{state.token}:{names[self._probes_sent % len(names)]}"}

    def _retry(self, work: Callable[[], _Result], *, locked: bool = True) -> _Result:
        """Do the work. If the proxy ended meanwhile and is restarted, do it again from the beginning.

        `locked` False: the caller does not hold `_locked`, which `_settle` needs.
        """
        for _ in range(_RETRIES):
            try:
                return work()
            except RuntimeUnreachable:
                if not self._is_supervised():
                    raise
            with nullcontext() if locked else self._locked():
                self._settle()
        return work()

    def _with_running_weights(self, state: EdgeState) -> EdgeState:
        """The state with the weights that the running proxy has, unless they would leave nobody with traffic."""
        weights = {name: server.weight for name, server in self._runtime.servers().items()}
        return state.with_weights(weights) if any(weights.values()) else state

    def _await_up(self, after: Mapping[str, int]) -> None:
        """Raises EdgeError when the change would take traffic from a server that answers to none that does."""
        deadline = time.monotonic() + _UP_SECONDS
        while True:
            running = self._runtime.servers()
            answering_now = any(server.weight and server.up for server in running.values())
            if not answering_now or any(after[name] and server.up for name, server in running.items()):
                return
            if time.monotonic() > deadline:
                raise EdgeError(
                    "no server that would get traffic is up, so the traffic stays where it is",
                    details=[f"{n}: {running[n].status}, check: {running[n].check}" for n in running if after[n]],
                    next_step="run `invoke logs` to see what the new version says",
                )
            self._wait(0.02)
