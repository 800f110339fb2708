"""The running daemon: requests of clients, housekeeping, shutdown, and the handover to another version."""

# ruff: noqa: PTH101, PTH108, PTH110 - see `folder`

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import socket

from .folder import SOCKET, STATE
from .lease import Lease
from .logs import rotate
from .loop import Loop
from .programs import KILL_SECONDS, Programs
from .protocol import PROTOCOL, Connection, Refused
from .state import status_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any


_HOUSEKEEPING_SECONDS = 2.0
_MISSING_LIMIT = 3  # consecutive rounds of housekeeping
_DEFERRED = object()
_IN_EVERY_PROTOCOL = ("hello", "handover")
_WHILE_ENDING = ("hello", "handover", "programs", "shutdown")


class Daemon:
    """The supervisor of `folder`, which it holds by the descriptor `lock`."""

    def __init__(self, folder: str, lock: int) -> None:
        self.loop = Loop()
        self.programs = Programs(folder, self.loop)
        self.lease = Lease(folder, self.loop, self.programs)
        self.server: socket.socket | None = None
        self._folder = folder
        self._lock = lock
        self._missing = 0
        self._shutdown_clients: list[Connection] = []
        self._operations: dict[str, Callable[[Connection, dict[str, Any]], Any]] = {
            "hello": self._hello,
            "handover": self._handover,
            "programs": self._programs,
            "shutdown": self._shutdown,
            "start": self._start_or_replace,
            "replace": self._start_or_replace,
            "stop": self._stop,
            "keep_alive": self._keep_alive,
            "lease.show": lambda _, __: self.lease.show(),
            "lease.grant": lambda _, request: self.lease.grant(request["lease"]),
            "lease.prepare": lambda _, request: self.lease.prepare(request["lease"]),
            "lease.renew": lambda _, request: self.lease.renew(request["id"]),
            "lease.end": lambda _, __: self.lease.end(),
            "lease.take_over": lambda _, __: self.lease.take_over(),
            "lease.forget": lambda _, __: self.lease.forget(),
        }

    # ---- lifecycle

    def open(self, server: socket.socket | None) -> None:
        """Listen for requests and signals."""
        self.loop.watch_signals(self._on_signals)
        self._serve(server or self._bind())

    def run(self) -> None:
        self.loop.call_later(_HOUSEKEEPING_SECONDS, self._housekeeping)
        self.loop.run()

    def _bind(self) -> socket.socket:
        """Listen in the folder, which this process works in: a relative path is short, however long the folder's is."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(SOCKET)
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(SOCKET)
        os.chmod(SOCKET, 0o600)
        server.listen(128)
        return server

    def _serve(self, server: socket.socket) -> None:
        server.setblocking(False)
        if self.server is not None:
            self.loop.unwatch(self.server)
            self.server.close()
        self.server = server
        self.loop.watch(server, functools.partial(self._accept, server))

    def _on_signals(self, numbers: bytes) -> None:
        if signal.SIGTERM in numbers:
            self.loop.done = True  # the programs go on; the next supervisor recovers them
        self.programs.reap()

    def _housekeeping(self) -> None:
        self.loop.call_later(_HOUSEKEEPING_SECONDS, self._housekeeping)
        for entry in self.programs.entries.values():
            rotate(entry.spec["log"], entry.spec["log_limit"])
        if os.fstat(self._lock).st_nlink == 0:
            self._on_missing_folder()
        elif not os.path.exists(SOCKET):  # a cleaner of temporary files has removed it
            self._serve(self._bind())

    def _on_missing_folder(self) -> None:
        """The folder was removed: no client can reach these programs again, so stop them."""
        self._missing += 1
        if self._missing >= _MISSING_LIMIT and self.programs.ending is None:
            self.programs.abandoned = True
            self.programs.stop_all(self._finish)

    def _finish(self) -> None:
        """No program is left: exit."""
        if self.loop.done:
            return
        self.loop.done = True
        if not self.programs.abandoned:
            for path in (SOCKET, STATE):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
        os.close(self._lock)
        for connection in self._shutdown_clients:
            connection.answer(None)

    # ---- requests

    def _accept(self, server: socket.socket) -> None:
        try:
            sock, _ = server.accept()
        except OSError:
            return
        sock.setblocking(False)
        connection = Connection(sock)
        self.loop.watch(sock, lambda: self._receive(connection))

    def _receive(self, connection: Connection) -> None:
        try:
            request = connection.receive()
        except (EOFError, ValueError):
            self.loop.unwatch(connection.sock)
            connection.sock.close()
            return
        if request is not None:
            self.loop.unwatch(connection.sock)
            self._dispatch(connection, request)

    def _dispatch(self, connection: Connection, request: dict[str, Any]) -> None:
        """Handle the request, and answer now or later."""
        try:
            answer = self._operation(request)(connection, request)
        except Refused as error:
            connection.refuse(error.kind, str(error))
        except Exception as error:
            connection.refuse("defect", f"the supervisor failed: {error!r}")
            raise
        else:
            if answer is not _DEFERRED:
                connection.answer(answer)

    def _operation(self, request: dict[str, Any]) -> Callable[[Connection, dict[str, Any]], Any]:
        """The handler of the request.

        It returns the answer, or _DEFERRED if the answer follows later. Raises Refused.
        """
        name = request.get("op")
        if name not in _IN_EVERY_PROTOCOL and request.get("protocol") != PROTOCOL:
            raise Refused("protocol", f"this supervisor speaks protocol {PROTOCOL}")
        if name not in _WHILE_ENDING and self.programs.ending is not None:
            raise Refused("ending", "this supervisor is ending")
        if name not in self._operations:
            raise Refused("request", f"there is no request {name!r}")
        return self._operations[name]

    def _hello(self, _connection: Connection, _request: dict[str, Any]) -> dict[str, int]:
        return {"protocol": PROTOCOL, "pid": os.getpid()}

    def _programs(self, _connection: Connection, _request: dict[str, Any]) -> list[dict[str, Any]]:
        self.programs.reap()  # sees an exit even before its signal arrives
        return [status_of(entry.record()) for entry in self.programs.entries.values()]

    def _shutdown(self, connection: Connection, _request: dict[str, Any]) -> object:
        connection.wait(self.programs.longest_shutdown())
        self._shutdown_clients.append(connection)
        self.programs.stop_all(self._finish)
        return _DEFERRED

    def _start_or_replace(self, connection: Connection, request: dict[str, Any]) -> Any:
        spec = request["program"]
        entry = self.programs.entries.get(spec["name"])
        if entry is not None and entry.busy:
            entry.pending.append(functools.partial(self._dispatch, connection, request))
            connection.wait(60.0 + entry.spec["stop_timeout"])
            return _DEFERRED
        self.programs.reap()
        if entry is None or entry.process is None:
            self.programs.start(spec, entry)
        elif request["op"] == "replace":
            self.programs.replace(connection, entry, spec, request["ready"])
            return _DEFERRED
        return status_of(self.programs.entries[spec["name"]].record())

    def _stop(self, connection: Connection, request: dict[str, Any]) -> object:
        entry = self.programs.entries.get(request["name"])
        if entry is None:
            return None
        timeout = request["timeout"] if request["timeout"] is not None else entry.spec["stop_timeout"]
        connection.wait(timeout + KILL_SECONDS)
        entry.stop_clients.append(connection)
        self.programs.stop(entry, timeout)
        return _DEFERRED

    def _keep_alive(self, _connection: Connection, request: dict[str, Any]) -> None:
        entry = self.programs.entries.get(request["name"])
        if entry is None:
            raise Refused("unknown", f"there is no program {request['name']}")
        self.programs.keep_alive(entry, enabled=request["enabled"])

    # ---- handover

    def _handover(self, _connection: Connection, request: dict[str, Any]) -> None:
        """Execute the daemon in `request["program"]` (a folder like this one) in this process, so children stay
        children.

        Raises Refused if it can't be executed; nothing has changed then.
        """
        self.programs.save()
        entries = self.programs.entries
        kept = {name: entry.listener.fileno() for name, entry in entries.items() if entry.listener is not None}
        server = self.server.fileno() if self.server is not None else -1
        inherit = json.dumps({"lock": self._lock, "server": server, "listeners": kept})
        python = request["python"]
        with _inheritable([self._lock, server, *kept.values()]):
            words = [python, "-I", "-S", request["program"], self._folder, inherit]
            try:
                os.execve(python, words, dict(os.environ))  # noqa: S606 - argv list, no shell
            except OSError as error:
                raise Refused("handover", f"{python} can't be executed: {error.strerror}") from None


@contextlib.contextmanager
def _inheritable(fds: list[int]) -> Iterator[None]:
    for fd in fds:
        os.set_inheritable(fd, True)
    try:
        yield
    finally:
        for fd in fds:
            os.set_inheritable(fd, False)
