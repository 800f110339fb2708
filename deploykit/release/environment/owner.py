"""The process that holds a lock, named so that anyone on its machine can see whether it still runs."""

from __future__ import annotations

import getpass
import os
import re
import socket
from dataclasses import dataclass

from deploykit.process.supervisor.daemon.identity import is_same_process, process_identity

__all__ = ["Owner", "actor"]

_FORM = re.compile(r"^(?P<who>.+)@(?P<host>[^@ ]+) pid (?P<pid>\d+) started (?P<started>\S+)$")


def actor() -> str:
    """The person or the CI job that acts, for the ledger."""
    for variable in ("DEPLOYKIT_ACTOR", "GITHUB_ACTOR", "GITLAB_USER_LOGIN"):
        if name := os.environ.get(variable):
            return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


@dataclass(frozen=True, kw_only=True)
class Owner:
    """One process of one person on one machine. `started` is the process's identity."""

    who: str
    host: str
    pid: int
    started: str

    def __str__(self) -> str:
        return f"{self.who}@{self.host} pid {self.pid} started {self.started}"

    @classmethod
    def me(cls) -> Owner:
        pid = os.getpid()
        return cls(
            who=actor().replace("@", "-"), host=socket.gethostname(), pid=pid, started=process_identity(pid) or "0"
        )

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """The owner that this text names, None when it was written by somebody else's convention."""
        match = _FORM.match(text)
        if match is None:
            return None
        return cls(who=match["who"], host=match["host"], pid=int(match["pid"]), started=match["started"])

    def is_dead(self) -> bool:
        """True only when it can be known: the same machine, and the process is gone or another one has its number."""
        return self.host == socket.gethostname() and not is_same_process(self.pid, self.started)
