"""What every edge can do. Each implementation passes `tests/integration/contracts/edge_contract.py`.

Every implementation guarantees that the total weight never becomes 0: it raises the new before it lowers the old. A
change counts as done only when it also survives a restart or reload of the proxy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from deploykit.edge.ports import address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deploykit.model import Problem

__all__ = ["Answer", "Edge", "EdgeOptions", "Lease", "Mark", "Server", "ServerState", "Traffic"]


@dataclass(frozen=True, kw_only=True)
class Server:
    """One instance behind the edge. `name` is the instance's name, `release` the ledger's id of its release."""

    name: str
    release: str
    host: str
    port: int

    @property
    def address(self) -> str:
        """`host:port` as HAProxy reads it."""
        return address(self.host, self.port)


@dataclass(frozen=True, kw_only=True)
class ServerState:
    """As read back from the running proxy. `weight` is 0 to 256; `in_flight` requests now; `up` by its health check."""

    server: Server
    weight: int
    in_flight: int
    up: bool


@dataclass(frozen=True)
class Mark:
    """A moment in the traffic, to count from; `value` belongs to the implementation (JSON types)."""

    value: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What one user's request (no probe) got. `release` is "" where no server was found for it.

    `began`: when the first byte of the request came, in seconds since the epoch by the proxy's clock. `ms`: what the
    application took, milliseconds.
    """

    release: str
    began: float
    ms: float
    error: bool
    database_error: bool


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What users (probes apart) got from one release since a mark. Latencies are milliseconds, one a request."""

    requests: int
    errors: int
    latencies_ms: Sequence[float]
    database_errors: int = 0


@dataclass(frozen=True, kw_only=True)
class EdgeOptions:
    """What the settings say of an edge. `health_host` is the Host header of health checks, empty: `localhost`.

    `trusted_proxies`: addresses and networks (CIDR) of proxies in front of it, whose word on the client is passed on.
    `tester_header`, `tester_cookie`: names; a request that has one of them, with any value, is a tester's. `sticky`:
    users get a number by a cookie, by which a route keeps them on one version. `maintenance_page`: HTML, at most 8,000
    bytes. Empty: no such header, no such cookie, and the kit's own page.
    """

    health_path: str = "/health"
    health_host: str = ""
    trusted_proxies: tuple[str, ...] = ()
    tester_header: str = ""
    tester_cookie: str = ""
    sticky: bool = False
    maintenance_page: str = ""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """How long two versions may share the traffic without a renewal. Times are seconds since the epoch.

    `ended_at` None: it runs. Else nobody renewed it, and the stable version got the traffic back.
    """

    ends_at: float
    seconds: float
    ended_at: float | None


class Edge(Protocol):
    """A proxy with one public port and a set of weighted servers. Every method can be repeated."""

    name: str

    def ensure(self) -> str:
        """Start the proxy if it is not running, from its last synced configuration; returns the public URL.

        Raises DeploykitError when the port is taken by somebody else, UsageError when the program is missing.
        """

    def url(self) -> str:
        """The public URL, `http://host:port`, whether it runs or not."""

    def running(self) -> bool: ...

    def servers(self) -> Sequence[ServerState]:
        """Read back from the running proxy."""

    def attach(self, server: Server) -> None:
        """Make the server known at weight 0."""

    def detach(self, name: str, *, force: bool = False) -> None:
        """Forget the server. Raises DeploykitError while it has weight, and while it has requests in flight unless
        `force`, which cuts them off (the drain limit has passed).
        """

    def set_weights(self, weights: Mapping[str, int]) -> None:
        """Set the weights (0 to 256) of the named servers: raises first, lowers after a read-back, then syncs to disk.

        Raises ValueError when the total of all servers would become 0, and LeaseEnded when a server would get traffic
        that the end of a lease has taken from it.
        """

    def set_routes(self, routes: Mapping[str, str]) -> None:
        """Send requests to named servers, whatever their weights. These routes replace all others, in one step.

        Keys are "tester" (who has the header or cookie of the options) and the users' numbers "0" to "99" (where the
        options say `sticky`). Values are names of servers. Who has no route, or one to a server that is not up or
        refuses the connection, gets a server by the weights. `detach` removes the routes to its server.
        Raises ValueError for another key, EdgeError for an unknown server, UsageError where the options have no routes.
        """

    def routes(self) -> Mapping[str, str]:
        """Read back from the running proxy."""

    def set_maintenance(self, *, enabled: bool) -> None:
        """While it is on, users get the maintenance page with 503, and probes still reach the servers."""

    def maintenance_since(self) -> float | None:
        """Since when users get the maintenance page, in seconds since the epoch. None: they do not.

        By the running proxy; by the edge's file while none runs.
        """

    def grant_lease(self, weights: Mapping[str, int], seconds: float) -> None:
        """From now on, when `seconds` have passed without a renewal, the servers get these weights, and all others 0.

        No process of the kit is needed for that. A lease that is there is replaced. The servers with a weight here
        can't be detached until the lease is over. Raises ValueError when the weights' total is 0.
        """

    def renew_lease(self) -> None:
        """Have the lease end so many seconds from now. Raises LeaseEnded when it has ended: it can't be renewed then.
        Raises EdgeError when there is none.
        """

    def end_lease(self) -> None:
        """The weights may stay as they are. Nothing happens when there is no lease.

        Raises LeaseEnded when it has ended by itself; nothing is seen of it from then on.
        """

    def lease(self) -> Lease | None:
        """The lease. One that has ended is seen until the next `grant_lease` or `end_lease`."""

    def mark(self, *, seconds_ago: float = 0.0) -> Mark:
        """The present moment in the traffic, or an earlier one."""

    def answers(self, since: Mark) -> tuple[Sequence[Answer], Mark]:
        """What was answered to users since the mark, of all releases, and the mark to go on from.

        Each answer comes once if the next call gets that mark, which costs only what is new. An answer is seen when it
        has ended, so later ones may have begun earlier. Requests that their client gave up and the maintenance page's
        answers are left out, and so is what was no HTTP request.
        """

    def maintenance_answers(self, since: Mark) -> int:
        """How often users got the maintenance page since the mark."""

    def traffic(self, release: str, since: Mark) -> Traffic:
        """The sum of the release's `answers` since the mark."""

    def probe_headers(self, release: str) -> Mapping[str, str]:
        """Headers that label a request as the kit's probe and send it to that release, whatever its weight."""

    def down(self) -> None:
        """Stop the proxy."""

    def clear(self) -> None:
        """Forget every server of a proxy that is down. Raises DeploykitError while it runs."""

    def preflight(self) -> Sequence[Problem]:
        """What is missing before the proxy can run here; nothing is changed."""
