"""An edge without a proxy: what runs and what its file says are two tables in memory, and requests are calls.

Changes are made in the order of `deploykit/edge/weighted.py`: weights in the proxy first and then in the file, what is
attached or detached in the file first, routes and maintenance in the proxy first. So a process that dies in between leaves the two as the real ones.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from deploykit.edge.accesslog import traffic_of
from deploykit.edge.errors import EdgeError
from deploykit.edge.interface import Answer, Lease, Mark, ServerState
from deploykit.edge.lease import KeptLease, ended, gives_back
from deploykit.edge.routes import check_routes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from deploykit.edge.interface import Server, Traffic
    from deploykit.model import Problem

PROBE = "X-Fake-Probe"
MAINTENANCE = "the maintenance page"


@dataclass
class Entry:
    server: Server
    weight: int = 0
    given: float = 0.0
    """Requests that it got beyond its share; below 0 it is owed some."""


def _no_time() -> float:
    return 0.0


@dataclass
class Proxy:
    """What is left when a process dies. `bound`: the port takes connections; `runs`: somebody answers them.

    `clock` (seconds) is that of the lease, which ends by itself whenever somebody looks after its time.
    """

    bound: bool = False
    runs: bool = False
    hard_stop_after: float = 0.0
    """The setting with which it runs; with another one it is replaced."""
    running: dict[str, Entry] = field(default_factory=dict)
    file: dict[str, Entry] = field(default_factory=dict)
    running_routes: dict[str, str] = field(default_factory=dict)
    file_routes: dict[str, str] = field(default_factory=dict)
    running_maintenance: float | None = None
    file_maintenance: float | None = None
    answered: list[tuple[str, int]] = field(default_factory=list)
    """(release, status) of each request of users; `MAINTENANCE` is the release of the page."""
    clock: Callable[[], float] = _no_time
    lease: KeptLease | None = None

    def keep_lease(self) -> None:
        """What the keeper of a lease does, without the kit."""
        if self.lease is None or not self.lease.holds:
            return
        if self.lease.ended_at is None and self.clock() >= self.lease.ends_at:
            self.lease = replace(self.lease, ended_at=self.lease.ends_at)
        if self.lease.ended_at is not None:
            self.running_routes, self.file_routes = {}, {}
            for entries in (self.running, self.file):
                for name, entry in entries.items():
                    entry.weight = self.lease.weights.get(name, 0)

    def serving(self, up: Callable[[Server], bool]) -> set[str]:
        """The releases that users get now, "" where a request would find nobody."""
        self.keep_lease()
        if not self.runs:
            return {""}
        if self.running_maintenance is not None:
            return {"the maintenance page"}
        weighted = [entry.server for entry in self.running.values() if entry.weight]
        return {server.release if up(server) else "" for server in weighted} or {""}


def _directly(_name: str, change: Callable[[], Any]) -> Any:
    return change()


class FakeEdge:
    """Implements `Edge` on a `Proxy`. `write` makes each change, given its name.

    `up` tells whether a server answers its health check, `respond` what a server answers: (status, body).
    """

    name = "fake"

    def __init__(
        self,
        proxy: Proxy,
        up: Callable[[Server], bool],
        respond: Callable[[Server, str], tuple[int, str]] = lambda server, _path: (200, server.release),
        *,
        write: Callable[[str, Callable[[], Any]], Any] = _directly,
    ) -> None:
        self._kept = proxy
        self._up = up
        self._respond = respond
        self._write = write
        self._turn = 0
        self._granted = 0
        self._hard_stop_after = 0.0

    @property
    def _proxy(self) -> Proxy:
        self._kept.keep_lease()
        return self._kept

    # -- start and stop

    def url(self) -> str:
        return "http://127.0.0.1:18080"

    def ensure(self) -> str:
        if not self._proxy.runs:
            self._write("bind", lambda: setattr(self._proxy, "bound", True))
            self._write("run the proxy", self._run)
        elif self._proxy.hard_stop_after != self._hard_stop_after:
            self._write("replace the proxy", self._replace)
        return self.url()

    def _run(self) -> None:
        self._proxy.running = {name: Entry(each.server, each.weight) for name, each in self._proxy.file.items()}
        self._proxy.running_routes = dict(self._proxy.file_routes)
        self._proxy.running_maintenance = self._proxy.file_maintenance
        self._proxy.runs, self._proxy.hard_stop_after = True, self._hard_stop_after

    def _replace(self) -> None:
        self._sync()
        self._run()

    def running(self) -> bool:
        return self._proxy.runs

    def down(self) -> None:
        def end() -> None:
            self._proxy.bound = self._proxy.runs = False
            self._proxy.running = {}

        self._write("edge.down", end)

    def clear(self) -> None:
        if self._proxy.runs:
            raise EdgeError("the edge still runs, so its servers are not forgotten", next_step="stop it first")
        self._write("clear", self._forget)

    def _forget(self) -> None:
        self._kept.file.clear()
        self._kept.file_routes.clear()
        self._kept.file_maintenance = None
        self._kept.lease = None

    def preflight(self) -> Sequence[Problem]:
        return ()

    # -- servers

    def servers(self) -> Sequence[ServerState]:
        return tuple(
            ServerState(server=entry.server, weight=entry.weight, in_flight=0, up=self._up(entry.server))
            for name, entry in self._proxy.running.items()
            if name in self._proxy.file
        )

    def attach(self, server: Server) -> None:
        for where, entries in (("file", self._proxy.file), ("proxy", self._proxy.running)):
            weight = entries[server.name].weight if server.name in entries else 0
            entry = Entry(server, weight)
            self._write(f"attach {server.name} in the {where}", lambda t=entries, e=entry: t.update({server.name: e}))

    def detach(self, name: str, *, force: bool = False) -> None:
        lease = self._proxy.lease
        if lease is not None and lease.holds and lease.weights.get(name):
            raise EdgeError(f"{name} gets the traffic back when the release's lease ends")
        known = self._proxy.running.get(name) or self._proxy.file.get(name)
        if known is not None and known.weight:
            raise EdgeError(f"{name} still has weight {known.weight}, so it is not taken from the edge")
        if name in {*self._proxy.running_routes.values(), *self._proxy.file_routes.values()}:
            self._set_routes({key: server for key, server in self.routes().items() if server != name})
        for where, entries in (("file", self._proxy.file), ("proxy", self._proxy.running)):
            if name in entries:
                self._write(f"detach {name} in the {where}", lambda t=entries: t.pop(name))

    def set_weights(self, weights: Mapping[str, int]) -> None:
        if any(not 0 <= weight <= 256 for weight in weights.values()):
            msg = "a weight is 0 to 256"
            raise ValueError(msg)
        if unknown := sorted(set(weights) - set(self._proxy.file)):
            raise EdgeError(f"the edge has no server {', '.join(unknown)}", next_step="attach it first")
        running, lease = self._proxy.running, self._proxy.lease
        if lease is not None and lease.holds and lease.ended_at is not None:
            if gives_back(lease, weights):
                raise ended(lease, "local")
            self._write("take the lease over", lambda: self._lease_is(replace(lease, holds=False)))
        after = {name: entry.weight for name, entry in running.items()} | dict(weights)
        if not any(after.values()):
            msg = "the total weight would be 0: nobody would get an answer"
            raise ValueError(msg)
        answers = any(entry.weight and self._up(entry.server) for entry in running.values())
        if answers and not any(weight and self._up(running[name].server) for name, weight in after.items()):
            raise EdgeError("no server that would get traffic is up, so the traffic stays where it is")
        for word, names in (
            ("raise", [name for name, weight in weights.items() if weight > running[name].weight]),
            ("lower", [name for name, weight in weights.items() if weight < running[name].weight]),
        ):
            if names:
                self._write(
                    f"{word} {', '.join(names)}",
                    lambda names=names: [setattr(running[name], "weight", weights[name]) for name in names],
                )
        self._write("write the weights", self._sync)

    def _sync(self) -> None:
        for name, entry in self._proxy.running.items():
            if name in self._proxy.file:
                self._proxy.file[name].weight = entry.weight
        self._proxy.file_routes = dict(self._proxy.running_routes)
        self._proxy.file_maintenance = self._proxy.running_maintenance

    # -- routes and maintenance

    def set_routes(self, routes: Mapping[str, str]) -> None:
        check_routes(routes, self._proxy.file)
        self._set_routes(routes)

    def _set_routes(self, routes: Mapping[str, str]) -> None:
        self._write("routes in the proxy", lambda: setattr(self._proxy, "running_routes", dict(routes)))
        self._write("routes in the file", lambda: setattr(self._proxy, "file_routes", dict(routes)))

    def routes(self) -> Mapping[str, str]:
        return dict(self._proxy.running_routes)

    def set_maintenance(self, *, enabled: bool) -> None:
        since = (self._proxy.running_maintenance or time.time()) if enabled else None
        self._write("maintenance in the proxy", lambda: setattr(self._proxy, "running_maintenance", since))
        self._write("maintenance in the file", lambda: setattr(self._proxy, "file_maintenance", since))

    def maintenance_since(self) -> float | None:
        return self._proxy.running_maintenance if self._proxy.runs else self._proxy.file_maintenance

    # -- the lease

    def _lease_is(self, lease: KeptLease | None) -> None:
        self._kept.lease = lease

    def grant_lease(self, weights: Mapping[str, int], seconds: float) -> None:
        if any(not 0 <= weight <= 256 for weight in weights.values()):
            msg = "a weight is 0 to 256"
            raise ValueError(msg)
        if not any(weights.values()):
            msg = "the total weight would be 0 when the lease ends: nobody would get an answer"
            raise ValueError(msg)
        if seconds <= 0:
            msg = f"a lease is longer than {seconds:g} s"
            raise ValueError(msg)
        if unknown := sorted(set(weights) - set(self._proxy.file)):
            raise EdgeError(f"the edge has no server {', '.join(unknown)}", next_step="attach it first")
        self._granted += 1
        granted = KeptLease(
            id=f"{id(self)}-{self._granted}",
            seconds=seconds,
            ends_at=self._proxy.clock() + seconds,
            ended_at=None,
            holds=True,
            weights=dict(weights),
        )
        self._write("grant the lease", lambda: self._lease_is(granted))

    def renew_lease(self) -> None:
        lease = self._proxy.lease
        if lease is None:
            raise EdgeError("there is no lease to renew")
        if lease.ended_at is not None:
            raise ended(lease, "local")
        renewed = replace(lease, ends_at=self._proxy.clock() + lease.seconds)
        self._write("renew the lease", lambda: self._lease_is(renewed))

    def end_lease(self) -> None:
        lease = self._proxy.lease
        if lease is None:
            return
        self._write("end the lease", lambda: self._lease_is(None))
        if lease.ended_at is not None:
            raise ended(lease, "local")

    def lease(self) -> Lease | None:
        lease = self._proxy.lease
        if lease is None:
            return None
        return Lease(ends_at=lease.ends_at, seconds=lease.seconds, ended_at=lease.ended_at)

    # -- traffic

    def mark(self, *, seconds_ago: float = 0.0) -> Mark:
        """It has no time: any earlier moment is before all requests."""
        return Mark({"requests": 0 if seconds_ago else len(self._proxy.answered)})

    def answers(self, since: Mark) -> tuple[Sequence[Answer], Mark]:
        """All began at 0."""
        answers = [
            Answer(release=release, began=0.0, ms=1.0, error=status >= 500, database_error=False)
            for release, status in self._proxy.answered[since.value["requests"] :]
            if release != MAINTENANCE
        ]
        return answers, self.mark()

    def maintenance_answers(self, since: Mark) -> int:
        return [release for release, _ in self._proxy.answered[since.value["requests"] :]].count(MAINTENANCE)

    def traffic(self, release: str, since: Mark) -> Traffic:
        return traffic_of(self.answers(since)[0], release)

    def probe_headers(self, release: str) -> Mapping[str, str]:
        names = sorted(name for name, entry in self._proxy.file.items() if entry.server.release == release)
        if not names:
            raise EdgeError(f"the edge has no server of release {release}", next_step="attach it first")
        self._turn += 1
        return {PROBE: names[self._turn % len(names)]}

    def request(self, path: str = "/", headers: Mapping[str, str] | None = None, *, route: str = "") -> tuple[int, str]:
        """What a user gets, or a probe. Shares are kept exactly: each request goes to the server that is owed most.

        `route`: the key of the routes that the user has, "tester" or a number.
        """
        running = self._proxy.running
        if (probed := running.get((headers or {}).get(PROBE, ""))) is not None:
            return self._respond(probed.server, path) if self._up(probed.server) else (503, "it is not up")
        if self._proxy.running_maintenance is not None:
            self._proxy.answered.append((MAINTENANCE, 503))
            return 503, MAINTENANCE
        routed = running.get(self._proxy.running_routes.get(route, ""))
        if routed is not None and self._up(routed.server):
            return self._answer(routed.server, path)
        able = [entry for entry in running.values() if entry.weight and self._up(entry.server)]
        if not able:
            return 503, "no version has the traffic"
        total = sum(entry.weight for entry in able)
        for entry in able:
            entry.given -= entry.weight / total
        chosen = min(able, key=lambda entry: entry.given)
        chosen.given += 1
        return self._answer(chosen.server, path)

    def _answer(self, server: Server, path: str) -> tuple[int, str]:
        status, body = self._respond(server, path)
        self._proxy.answered.append((server.release, status))
        return status, body
