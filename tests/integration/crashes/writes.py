"""What a command writes, one after the other.

What is there between two writes is what kill -9 leaves behind at that moment.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


@dataclass
class Writes:
    """The names of the writes so far. `before` and `after` are called around each one, while no other is made."""

    before: Callable[[str], None] = lambda _name: None
    after: Callable[[str], None] = lambda _name: None
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._one = threading.Lock()

    def make(self, name: str, change: Callable[[], Any]) -> Any:
        with self._one:
            self.before(name)
            answer = change()
            self.names.append(name)
            self.after(name)
            return answer


class WatchedLedger:
    """A real ledger whose writes are seen. `writing` are the names of its methods that write."""

    def __init__(self, ledger: Any, writes: Writes, writing: Collection[str]) -> None:
        self._ledger = ledger
        self._writes = writes
        self._writing = writing
        self._steps: dict[int, str] = {}

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._ledger, name)
        if name not in self._writing:
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            said = {"intend": lambda: f"intend {args[1]}", "result": lambda: f"result {self._steps[args[0]]}"}
            answer = self._writes.make(said.get(name, lambda: name)(), lambda: real(*args, **kwargs))
            if name == "intend":
                self._steps[answer] = args[1]
            return answer

        return call
