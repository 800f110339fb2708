"""A process that dies at one of its writes, as by kill -9, without a process: whatever it asks or writes then raises `Crash`.

Cleanups and error handlers of the code under test still run when an exception passes them, and find that they can change
nothing any more. So what is left behind is what a killed process would have left.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


class Crash(BaseException):
    """The process is dead. No `except Exception` may hear of it."""


@dataclass
class Mortal:
    """What one command asks and writes. It dies `when` ("before" or "after") its write number `at`; None: never.

    `noticed` is called after each write, and raises when users would notice what was written.
    """

    at: int | None = None
    when: str = "after"
    noticed: Callable[[], None] = lambda: None
    writes: list[str] = field(default_factory=list)
    dead: bool = False

    def __post_init__(self) -> None:
        self._one = threading.RLock()

    def look(self) -> None:
        if self.dead:
            raise Crash

    def write(self, name: str, change: Callable[[], Any]) -> Any:
        """Make the change, unless the process dies before it."""
        with self._one:
            self.look()
            here = len(self.writes) == self.at
            if here and self.when == "before":
                self._die()
            answer = change()
            self.writes.append(name)
            self.noticed()
            if here:
                self._die()
            return answer

    def _die(self) -> None:
        self.dead = True
        raise Crash


class MortalLedger:
    """A real ledger in the hands of a process that dies. `writing` are the names of its methods that write."""

    def __init__(self, ledger: Any, process: Mortal, writing: Collection[str]) -> None:
        self.real = ledger
        self._process = process
        self._writing = writing
        self._steps: dict[int, str] = {}

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.real, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if name not in self._writing:
                self._process.look()
                return real(*args, **kwargs)
            said = {"intend": lambda: f"intend {args[1]}", "result": lambda: f"result {self._steps[args[0]]}"}
            answer = self._process.write(said.get(name, lambda: name)(), lambda: real(*args, **kwargs))
            if name == "intend":
                self._steps[answer] = args[1]
            return answer

        return call
