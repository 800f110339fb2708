"""Looks at what runs and at what the edge does, from outside of the command that changes it."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from deploykit.edge.errors import EdgeError
from deploykit.edge.haproxy import HAProxyEdge
from deploykit.process.supervisor.client import Supervisor
from deploykit.release.hosting.saved import SavedTarget

if TYPE_CHECKING:
    from harness import ReleasedService

__all__ = ["Moment", "Watched", "edge_of", "share_of_newest", "supervisor"]

_INSTANCE = re.compile(r"r\d+-web-\d+")


def supervisor(released: ReleasedService) -> Supervisor:
    return Supervisor(released.paths.supervisor)


def edge_of(released: ReleasedService, *, hard_stop_after: float = 900.0) -> HAProxyEdge:
    """The edge of the target `process`, with the options that the last release gave it."""
    return HAProxyEdge(
        released.app,
        "local",
        released.paths.edge,
        released.port,
        supervisor(released),
        parts=released.paths.parts,
        options=SavedTarget.load(released.paths.root).edge_options,
        hard_stop_after=hard_stop_after,
    )


def share_of_newest(weights: dict[str, int]) -> float:
    """The percentage of the traffic that the newest release among the servers has; 0 where there is one release."""
    releases = {int(name[1:].partition("-")[0]) for name in weights}
    if len(releases) < 2:
        return 0.0
    newest = f"r{max(releases)}-"
    return 100 * sum(weight for name, weight in weights.items() if name.startswith(newest)) / sum(weights.values())


@dataclass(frozen=True)
class Moment:
    """`running`: the instances that run. `answering`: the servers that have weight and pass their check. `weights` are
    those of all servers.
    """

    running: frozenset[str]
    answering: frozenset[str]
    weights: dict[str, int]

    @property
    def releases(self) -> set[str]:
        return {name.partition("-")[0] for name in self.running}


@dataclass
class Watched:
    """What was seen in the block, every few hundredths of a second."""

    released: ReleasedService
    moments: list[Moment] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)

    def _look(self) -> None:
        programs, edge = supervisor(self.released), edge_of(self.released)
        until = time.monotonic() + 300
        while not self._stop.wait(0.03) and time.monotonic() < until:
            running = frozenset(
                each.name for each in programs.programs() if each.alive and _INSTANCE.fullmatch(each.name)
            )
            try:
                servers = edge.servers()
            except EdgeError:  # it is being replaced
                continue
            self.moments.append(
                Moment(
                    running=running,
                    answering=frozenset(each.server.name for each in servers if each.weight and each.up),
                    weights={each.server.name: each.weight for each in servers},
                )
            )

    @property
    def shares(self) -> list[int]:
        """The newest release's share of the traffic, in whole per cent, each change of it."""
        found: list[int] = []
        for moment in self.moments:
            share = round(share_of_newest(moment.weights))
            if not found or found[-1] != share:
                found.append(share)
        return found
