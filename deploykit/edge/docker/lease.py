"""The lease of a proxy in containers: HAProxy's Lua in the holder keeps it, the container that has the public port.

The kit asks by a command of the holder's own runtime socket, `lease`. The holder is one thread, and its Lua gives way
only where it waits, so a renewal and the end can't both win. It keeps the lease in `lease.state` on the edge's volume
and does what `lease.plan` says, which only the kit writes. No request passes the holder, so none waits for this.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from deploykit.edge.docker.files import HOLD_SOCKET
from deploykit.edge.docker.lease_lua import BUSY, NONE, PLAN, STATE
from deploykit.edge.errors import EdgeError, RuntimeUnreachable
from deploykit.edge.lease import KeptLease

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from deploykit.edge.docker.agent import Agent
    from deploykit.edge.lease import Restoration

__all__ = ["ContainerLease", "weights_in", "written"]

_ANSWER_SECONDS = 10.0


class ContainerLease:
    """Implements `LeaseKeeper`. `runs`: whether the holder does; `files`: who reaches the volume where it does not."""

    def __init__(
        self,
        agent: Agent,
        runs: Callable[[], bool],
        files: Callable[[], AbstractContextManager[Agent]],
        has_volume: Callable[[], bool],
        wait: Callable[[float], None],
    ) -> None:
        self._agent = agent
        self._runs = runs
        self._files = files
        self._has_volume = has_volume
        self._wait = wait

    def read(self) -> KeptLease | None:
        if self._runs():
            answer = self._ask("show")
        elif self._has_volume():
            with self._files() as agent:
                answer = (agent.read(STATE) or NONE).strip()
        else:
            return None
        return self._kept(answer)

    def grant(self, lease_id: str, seconds: float, restoration: Restoration) -> None:
        self.prepare(restoration)
        self._ask("grant", lease_id, f"{seconds:g}")

    def prepare(self, restoration: Restoration) -> None:
        with self._files() as agent:
            agent.write(PLAN, written(restoration))

    def renew(self, lease_id: str) -> KeptLease | None:
        return self._kept(self._ask("renew", *filter(None, [lease_id])))

    def end(self) -> KeptLease | None:
        return self._kept(self._ask("end")) if self._runs() else self.read()

    def take_over(self) -> None:
        self._ask("take")

    def forget(self) -> None:
        if self._runs():
            self._ask("forget")
        elif self._has_volume():
            with self._files() as agent:
                agent.write(STATE, "")

    def _ask(self, *words: str) -> str:
        """What the holder answers, once it is ready."""
        deadline = time.monotonic() + _ANSWER_SECONDS
        while True:
            try:
                answer = self._agent.ask(f"lease {' '.join(words)}\n", HOLD_SOCKET).strip()
            except RuntimeUnreachable:  # it is about to listen
                if time.monotonic() > deadline:
                    raise
            else:
                if answer.startswith("Unknown command"):
                    raise EdgeError(
                        "the edge's container was made by another version of deploykit, which knows no lease",
                        next_step="stop and start the environment: invoke down, then invoke release",
                    )
                if answer != BUSY:
                    return answer
                if time.monotonic() > deadline:
                    raise EdgeError("the edge is busy giving traffic back", next_step="invoke status")
            self._wait(0.02)

    def _kept(self, answer: str) -> KeptLease | None:
        if answer in ("", NONE):
            return None
        lease_id, seconds, _, _, ends_at, ended_at, holds = answer.split()
        return KeptLease(
            id=lease_id,
            seconds=float(seconds),
            ends_at=float(ends_at),
            ended_at=self._ended_at(ended_at, float(ends_at)),
            holds=holds == "holds",
            weights=self._weights(),
        )

    def _ended_at(self, said: str, ends_at: float) -> float | None:
        if said != "-":
            return float(said)
        if self._runs():
            return None
        return ends_at if ends_at <= time.time() else None  # nobody ends it while the holder does not run

    def _weights(self) -> dict[str, int]:
        with self._files() as agent:
            return weights_in(agent.read(PLAN) or "")


def written(restoration: Restoration) -> str:
    """The plan as the holder reads it: a word and the rest of its line for each thing, and the files' bytes."""
    lines = [f"weight {name} {weight}" for name, weight in restoration.weights.items()]
    for batch in restoration.batches:
        lines += ["batch", *(f"do {command}" for command in batch.commands)]
        for question, allowed in batch.checks:
            lines += [f"check {question}", *(f"or {beginning}" for beginning in allowed)]
    text = "".join(f"{line}\n" for line in lines)
    return text + "".join(f"file {name} {len(content.encode())}\n{content}" for name, content in restoration.files)


def weights_in(plan: str) -> dict[str, int]:
    """The weights that a plan begins with."""
    found = {}
    for line in plan.splitlines():
        word, *rest = line.split(" ")
        if word != "weight":
            break
        found[rest[0]] = int(rest[1])
    return found
