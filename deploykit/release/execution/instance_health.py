"""Whether the instances of a version that is judged are well: none ended by itself, and the edge's checks pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deploykit.model import DeploykitError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deploykit.edge.interface import ServerState

__all__ = ["InstanceHealth"]

_LOOKS = 3
"""An instance whose checks fail in so many looks in a row is not well: a look is a second, and a check half of one."""


@dataclass(kw_only=True)
class InstanceHealth:
    """Call it about each second: a sentence on the first instance of `release` that is not well, else "".

    `ended` says whether one ended by itself, `servers` are as the edge has them. Where no instance of any version
    passes its check, the version is not what is wrong: what users get decides then.
    """

    release: str
    ended: Callable[[], str]
    servers: Callable[[], Sequence[ServerState]]
    _down: dict[str, int] = field(default_factory=dict)

    def __call__(self) -> str:
        if said := self.ended():
            return said
        states = self._states()
        down = [state.server.name for state in states if state.server.release == self.release and not state.up]
        others = [state for state in states if state.server.release != self.release]
        if others and not any(state.up for state in states):
            down = []
        self._down = {name: self._down.get(name, 0) + 1 for name in down}
        failing = [name for name, looks in self._down.items() if looks >= _LOOKS]
        return f"{failing[0]} fails the edge's health check" if failing else ""

    def _states(self) -> list[ServerState]:
        """Those with traffic; none while the proxy can't be asked, since it is just being started again."""
        try:
            return [state for state in self.servers() if state.weight]
        except DeploykitError:
            return []
