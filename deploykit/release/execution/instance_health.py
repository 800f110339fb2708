"""Whether the instances of a version that is judged are well: none ended by itself, and the edge's checks pass."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deploykit.model import DeploykitError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deploykit.edge.interface import ServerState

__all__ = ["InstanceHealth"]

_SECONDS = 3.0
"""An instance whose checks fail for so long is not well. The edge itself takes a second or two to be sure of one."""


@dataclass(kw_only=True)
class InstanceHealth:
    """Call it often: a sentence on the first instance of `release` that is not well, else "".

    `ended` says whether one ended by itself, `servers` are as the edge has them. Where no instance of any version
    passes its check, the version is not what is wrong: what users get decides then.
    """

    release: str
    ended: Callable[[], str]
    servers: Callable[[], Sequence[ServerState]]
    clock: Callable[[], float] = time.monotonic
    _down: dict[str, float] = field(default_factory=dict)

    def __call__(self) -> str:
        if said := self.ended():
            return said
        states = self._states()
        down = [state.server.name for state in states if state.server.release == self.release and not state.up]
        others = [state for state in states if state.server.release != self.release]
        if others and not any(state.up for state in states):
            down = []
        now = self.clock()
        self._down = {name: self._down.get(name, now) for name in down}
        failing = [name for name, since in self._down.items() if now - since >= _SECONDS]
        return f"{failing[0]} fails the edge's health check" if failing else ""

    def _states(self) -> list[ServerState]:
        """Those with traffic; none while the proxy can't be asked, since it is just being started again."""
        try:
            return [state for state in self.servers() if state.weight]
        except DeploykitError:
            return []
