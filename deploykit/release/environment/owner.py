"""The process that holds a lock, named so that other processes of its machine and container see if it still runs."""

from __future__ import annotations

import getpass
import os
import re
import socket
from dataclasses import dataclass

from deploykit.process.supervisor.daemon.identity import is_gone, is_of_this_place, process_identity

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
    """One process of one person on one machine. `started` is the process's identity, which names its boot and its PID
    namespace; the host's name is for people: containers and clones of a machine may share one.
    """

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
        """True only when it can be known: it can be seen from here, and is gone or another one has its number."""
        return is_gone(self.pid, self.started)

    def can_be_seen(self) -> bool:
        """Whether its end would be seen from here. Where it would not, only the lock's lease decides."""
        return is_of_this_place(self.started)
