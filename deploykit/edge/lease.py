"""What is done when a lease ends, and who keeps it meanwhile.

While two versions share the traffic, a process of the kit has to be there that judges the new one. If it is killed, the
laptop sleeps or its network is cut, nobody would ever take the traffic back. So the kit leaves a lease with a *keeper*
that outlives it and runs where the proxy runs: the supervisor, or the container that holds the public port. The keeper
knows nothing of HAProxy's configuration: the kit prepares in full what is to be done.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from deploykit.edge.config import USERS
from deploykit.edge.errors import LeaseEnded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deploykit.edge.state import EdgeState

__all__ = ["Batch", "KeptLease", "LeaseKeeper", "Restoration", "ended", "gives_back", "weight_batches", "weights_after"]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Commands for the proxy's runtime socket, sent at once. `checks`: questions asked afterwards, each with the ways
    in which its answer, one line, may begin. The next batch is sent when all of them do.
    """

    commands: tuple[str, ...]
    checks: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class Restoration:
    """What a keeper does at the end, and again each second until the kit takes over: `batches` in their order, and
    `files` (name and whole content). `weights` are the lease's, for the kit, which reads them back.
    """

    weights: Mapping[str, int]
    batches: tuple[Batch, ...]
    files: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class KeptLease:
    """A lease as its keeper has it. Times are seconds since the epoch, `ended_at` None while it runs.

    `holds`: it runs, or it has ended and the keeper still enforces it on proxy and files.
    """

    id: str
    seconds: float
    ends_at: float
    ended_at: float | None
    holds: bool
    weights: Mapping[str, int]


class LeaseKeeper(Protocol):
    """Keeps at most one lease. It is one thread, so a renewal and the end can't both win."""

    def read(self) -> KeptLease | None: ...

    def grant(self, lease_id: str, seconds: float, restoration: Restoration) -> None:
        """Begin a lease. One that is there is replaced."""

    def prepare(self, restoration: Restoration) -> None:
        """Change what is done at the end. Only for a lease that is there."""

    def renew(self, lease_id: str) -> KeptLease | None:
        """Have it end so many seconds from now, unless it has ended or is another one; it, as it is now.

        `lease_id` "": whichever it is.
        """

    def end(self) -> KeptLease | None:
        """Forget it if it runs; one that has ended stays. It, as it was."""

    def take_over(self) -> None:
        """Have the keeper stop doing what an ended lease says."""

    def forget(self) -> None: ...


def weights_after(state: EdgeState, weights: Mapping[str, int]) -> EdgeState:
    """The state after the lease: servers that it does not name get nothing."""
    return state.with_weights({name: weights.get(name, 0) for name in state.servers})


def weight_batches(state: EdgeState, *, cleared: Sequence[str] = ()) -> tuple[Batch, ...]:
    """Give the running proxy the state's weights, those above 0 first; then the maps `cleared` are emptied."""
    raised = {name: weight for name, weight in state.weights.items() if weight}
    lowered = {name: 0 for name, weight in state.weights.items() if not weight}
    batches = [
        Batch(
            commands=tuple(f"set server {server} weight {weight}" for server, weight in _everywhere(raised)),
            checks=tuple((f"get weight {server}", (f"{weight} ",)) for server, weight in _everywhere(raised)),
        ),
        Batch(
            commands=(
                *(f"set server {server} weight 0" for server, _ in _everywhere(lowered)),
                *(f"clear map {name}" for name in cleared),
            ),
            # One that only the file has by now gets no traffic either.
            checks=tuple((f"get weight {server}", ("0 ", "No such server")) for server, _ in _everywhere(lowered)),
        ),
    ]
    return tuple(batch for batch in batches if batch.commands)


def _everywhere(weights: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(f"{backend}/{name}", weight) for backend in sorted(USERS) for name, weight in weights.items()]


def gives_back(lease: KeptLease, weights: Mapping[str, int]) -> bool:
    """Whether the change would give traffic to a server that the lease has taken it from."""
    return any(weight and not lease.weights.get(name, 1) for name, weight in weights.items())


def ended(lease: KeptLease, environment: str) -> LeaseEnded:
    """The error for a lease that has ended by itself."""
    at = datetime.fromtimestamp(lease.ended_at or lease.ends_at, UTC)
    return LeaseEnded(
        f"the release did not answer for {lease.seconds:g} s, so at {at:%H:%M:%S} UTC the stable version got all of "
        "the traffic back",
        next_step=f"see what users get now: invoke status --env {environment}",
    )
