"""A known program: its specification, its processes, and the clients that wait for it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

    from .loop import Timer
    from .process import Process
    from .protocol import Connection


class Entry:
    """`candidate` is the second process during a `replace`; `retired` are replaced processes that still run.

    `exit_code` is that of `last_process`. `pending` are the requests that wait for the end of a stop or replacement.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.process: Process | None = None
        self.candidate: Process | None = None
        self.candidate_spec: dict[str, Any] | None = None
        self.candidate_listener: socket.socket | None = None
        self.retired: list[Process] = []
        self.last_process: Process | None = None
        self.exit_code: int | None = None
        self.restarts = 0
        self.failures = 0
        self.started_at = 0.0
        self.stopping: float | None = None
        self.listener: socket.socket | None = None
        self.restart: Timer | None = None
        self.deadline: Timer | None = None
        self.replace_client: Connection | None = None
        self.stop_clients: list[Connection] = []
        self.pending: list[Callable[[], None]] = []

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def busy(self) -> bool:
        """Whether it is being stopped or replaced."""
        return self.stopping is not None or self.candidate is not None

    def processes(self) -> list[Process]:
        return [process for process in (self.process, self.candidate, *self.retired) if process is not None]

    def record(self) -> dict[str, Any]:
        return {
            "spec": self.spec,
            "process": self.process.as_json() if self.process else None,
            "candidate": self.candidate.as_json() if self.candidate else None,
            "candidate_spec": self.candidate_spec,
            "retired": [process.as_json() for process in self.retired],
            "exit_code": self.exit_code,
            "restarts": self.restarts,
            "started_at": self.started_at,
            "stopping": self.stopping,
        }

    # ---- resources

    def close_listener(self) -> None:
        if self.listener is not None:
            self.listener.close()
            self.listener = None

    def close_candidate_listener(self) -> None:
        """Close it, unless it is the program's own."""
        if self.candidate_listener is not None and self.candidate_listener is not self.listener:
            self.candidate_listener.close()
        self.candidate_listener = None

    def cancel_restart(self) -> None:
        if self.restart is not None:
            self.restart.cancel()
            self.restart = None

    def cancel_deadline(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    def end_replacement(self) -> None:
        """The replacement is answered. Run the requests that waited for it."""
        self.replace_client = None
        if self.stopping is None:  # else the deadline is the stop's
            self.cancel_deadline()
        self.run_pending()

    def run_pending(self) -> None:
        pending, self.pending = self.pending, []
        for callback in pending:
            callback()
