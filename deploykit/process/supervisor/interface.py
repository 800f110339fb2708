"""What a supervisor is asked and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["Program", "ProgramStatus", "Supervising"]


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program to keep. `name` is unique in the environment; starting the same name again while it is alive changes nothing.

    `env` is the whole environment of the program. `log` gets its output, appended; it is rotated past `log_limit` bytes
    by copy and truncate. `keep_alive`: started again when it ends by itself, after 0.1 s, doubling to 5 s.
    `listen` (`"127.0.0.1:8000"`): the supervisor opens this listening TCP socket, holds it as long as the program is
    known, and gives it to each process of the program as file descriptor 3: connections made while the program is
    being restarted or replaced wait in the queue instead of being refused.
    `user`: the OS user to become (root only). `labels` are kept and given back, and mean nothing to the supervisor.
    `stop_signal` is a signal number; after `stop_timeout` seconds the whole process group gets SIGKILL.
    """

    name: str
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    log: Path
    keep_alive: bool = False
    listen: str = ""
    user: str = ""
    stop_signal: int = 15
    stop_timeout: float = 10.0
    log_limit: int = 10_000_000
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ProgramStatus:
    """`pid` None and an `exit_code` (negative: a signal): it ended. `started_at` is UTC epoch seconds."""

    name: str
    pid: int | None
    exit_code: int | None
    restarts: int
    started_at: float
    keep_alive: bool
    argv: tuple[str, ...]
    log: Path
    labels: Mapping[str, str]

    @property
    def alive(self) -> bool:
        return self.pid is not None


class Supervising(Protocol):
    """What the targets, the edge and the embedded database ask of a supervisor."""

    def start(self, program: Program) -> ProgramStatus:
        """Start it, or return it as it is when it is alive. The supervisor itself is started when it does not run.

        A program of that name that has ended is started afresh with the new values.
        Raises DeploykitError when the address in `listen` is taken or the program can't be executed.
        """

    def replace(self, program: Program, *, ready: float = 0.0) -> ProgramStatus:
        """Start a second process of a running program with new values (and the same listening socket).

        The old one is not signalled: the new process's own arguments (HAProxy's `-sf PID`) or the caller end it, and
        at the latest `stop` and `shutdown` do. If the new process ends within `ready` seconds, the old one stays the
        program's process and DeploykitError is raised. A program that is not alive is started.
        """

    def keep_alive(self, name: str, *, enabled: bool) -> None:
        """Change it for a program that is known; one that has ended is started again when enabled.

        Raises DeploykitError when there is no such program.
        """

    def signal(self, name: str, number: int) -> None:
        """Send a signal to its process, not to the group. Raises DeploykitError when it does not run."""

    def stop(self, name: str, *, timeout: float | None = None) -> None:
        """End it (its stop signal, then SIGKILL to its group), forget it, close its socket. Returns when it is gone.

        `timeout` in seconds, before the SIGKILL, is for this once; the program's own `stop_timeout` where None.
        Nothing happens when there is no such program.
        """

    def status(self, name: str) -> ProgramStatus | None: ...

    def programs(self) -> Sequence[ProgramStatus]: ...

    def pid(self) -> int | None:
        """The supervisor's own process id, None when it does not run."""

    def shutdown(self) -> None:
        """Stop every program, newest first, and end the supervisor."""
