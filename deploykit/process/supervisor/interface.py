"""What a supervisor is asked and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Program", "ProgramStatus"]


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program to keep. `name` is unique in the environment; starting the same name again while it is alive changes
    nothing.

    `env` is the whole environment of the program. `log` receives its output, appended; past `log_limit` bytes it is
    rotated by copy and truncate. `piped`: the output gets there through a pipe, for a program that does not append to
    a file that it was given to append to.
    `keep_alive`: restart it when it exits by itself, after 0.1 s, doubling to 5 s.
    `listen` (`"127.0.0.1:8000"`): the supervisor opens this listening TCP socket and holds it as long as the program is
    known. Each process of the program gets it as file descriptor 3. Connections that arrive during a restart or a
    replacement wait in the queue; they are not refused.
    `user`: the OS user to run as (root only), a name, or a number that is its group's, too; `groups` are numbers of
    further groups that it is in. `labels` are stored and returned; the supervisor does not interpret them.
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
    groups: tuple[int, ...] = ()
    stop_signal: int = 15
    stop_timeout: float = 10.0
    log_limit: int = 10_000_000
    piped: bool = False
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
