"""The actions of a rollout on a real target and edge. Each looks at what is there first, so it can be repeated."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from deploykit.edge.interface import Edge, Mark, Server
from deploykit.ledger.interface import ENDING, RETIRE, WARM
from deploykit.model.errors import DeploykitError
from deploykit.release.execution.traffic import Traffic
from deploykit.release.reporting.text import requests_on
from deploykit.release.version.instances import instance_specs, release_of, takes_requests
from deploykit.release.version.recorded import stop_timeout
from deploykit.rollout import Action, Kind
from deploykit.targets.interface import Instance, InstanceSpec, InstanceState, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from deploykit.ledger.interface import Step
    from deploykit.ledger.sql import SqlLedger
    from deploykit.release.execution.checks import Checks
    from deploykit.release.execution.verification import Verification
    from deploykit.release.version.instances import RunnableVersion

__all__ = ["RolloutActions"]

_DRAIN_STEP = 0.02
_BRIEFLY = 1.0
"""Seconds that requests on a version are waited for which is kept warm afterwards: they may take longer there."""
_AT_ONCE = 8
"""Instances that are started or stopped in parallel: an engine gets slower with more."""

_One = TypeVar("_One")
_Done = TypeVar("_Done")


@dataclass(kw_only=True)
class RolloutActions:
    """Implements `rollout.Performer`. `version` is the one that gets the traffic, `instances` its instances by name.

    `earlier` gives the version of an earlier release, to start its instances again.
    """

    target: Target
    edge: Edge
    ledger: SqlLedger
    checks: Checks
    verification: Verification
    version: RunnableVersion
    instances: Mapping[str, InstanceSpec]
    earlier: Callable[[str], RunnableVersion]
    warn: Callable[[str], None]
    judged: Mapping[str, Any] | None = None
    """What the judge saw in the stages before."""
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    traffic: Traffic = field(init=False)

    def __post_init__(self) -> None:
        self.traffic = Traffic(
            edge=self.edge,
            release=self.version.release,
            environment=self.version.spec.environment,
            clock=self.clock,
        )

    def restore_mark(self, steps: Sequence[Step]) -> None:
        """Read from the journal since when the candidate's traffic counts, to continue a rollout that was killed."""
        for step in steps:
            data = step.result.get("data", {})
            if mark := data.get("mark"):
                self.traffic.mark = Mark(mark)
            self.judged = data.get("judged") or self.judged

    def perform(self, action: Action) -> Mapping[str, Any]:
        methods: dict[Kind, Callable[[Action], Mapping[str, Any] | None]] = {
            Kind.START: self._start,
            Kind.HEALTH: self._health,
            Kind.SMOKE: self._smoke,
            Kind.TRUST: self._trust,
            Kind.EDGE: self._edge,
            Kind.ATTACH: self._attach,
            Kind.RAISE: self._raise,
            Kind.LOWER: self._lower,
            Kind.VERIFY: self._verify,
            Kind.LIVE: self._live,
            Kind.DRAIN: self._drain,
            Kind.WARM: self._warm,
            Kind.RETIRE: self._retire,
            Kind.CLOSE: self._close,
            Kind.DETACH: self._detach,
            Kind.STOP: self._stop,
            Kind.ROUTES: self._routes,
            Kind.MAINTENANCE: self._maintenance,
            Kind.LEASE: self._lease,
            Kind.UNLEASE: self._unlease,
        }
        return methods[action.kind](action) or {}

    # Up to the switch ------------------------------------------------------------------------------------------------

    def _start(self, action: Action) -> Mapping[str, Any]:
        specs = dict(self.instances)
        for release in sorted({release_of(name) for name in action.instances if name not in specs}):
            specs |= instance_specs(self.earlier(release), anchor=self.ledger.head())
        started = self._at_once(self.target.start, [specs[name] for name in action.instances])
        return {"addresses": {instance.name: f"{instance.host}:{instance.port}" for instance in started}}

    def _version_of(self, name: str) -> RunnableVersion:
        release = release_of(name)
        return self.version if release == self.version.release else self.earlier(release)

    def _health(self, action: Action) -> Mapping[str, Any]:
        versions = {release_of(name): self._version_of(name) for name in action.instances}

        def healthy(instance: Instance) -> float:
            version = versions[release_of(instance.name)]
            return self.checks.healthy(instance, version.spec, version.artifact.version)

        return {"seconds": {name: round(value, 3) for name, value in self._each(action, healthy).items()}}

    def _smoke(self, action: Action) -> Mapping[str, Any]:
        spec = self.version.spec
        self._each(self._web(action), lambda instance: self.checks.smoke(instance, spec))
        return {"checks": len(spec.smoke)}

    def _trust(self, action: Action) -> None:
        for name in action.instances:
            self.target.keep_alive(name, enabled=True)

    def _edge(self, _action: Action) -> Mapping[str, Any]:
        return {"url": self.traffic.begin()}

    def _attach(self, action: Action) -> None:
        for instance in self._instances(self._web(action)):
            self.edge.attach(self._server(instance))

    # The switch ------------------------------------------------------------------------------------------------------

    def _raise(self, action: Action) -> Mapping[str, Any]:
        """Raise weights of instances that run: the candidate's, or the old version's on the way back."""
        if (web := self._web(action)) != action:
            self._instances(action)  # processes that take no requests have to run, too
            action = web
        self.edge.ensure()
        known = {state.server.name for state in self.edge.servers()}
        for instance in self._instances(action):
            if instance.name not in known:
                self.edge.attach(self._server(instance))
        shared = self.traffic.share(_web_weights(action))
        self._forget_dead(keep=action.instances)
        return shared

    def _lower(self, action: Action) -> Mapping[str, Any]:
        self.edge.ensure()
        known = {state.server.name for state in self.edge.servers()}
        return self.traffic.share({name: weight for name, weight in _web_weights(action).items() if name in known})

    def _routes(self, action: Action) -> None:
        self.traffic.route(action.parameters["routes"])

    def _lease(self, action: Action) -> Mapping[str, Any]:
        return self.traffic.lease(_web_weights(action), float(action.parameters["seconds"]))

    def _unlease(self, action: Action) -> Mapping[str, Any]:
        return self.traffic.unlease(undoing=action.name != "unlease")

    def _maintenance(self, action: Action) -> Mapping[str, Any]:
        if not action.parameters["on"]:
            return self.traffic.reopen()
        self.traffic.close()
        return {}

    def _verify(self, action: Action) -> Mapping[str, Any]:
        found = self.verification.watch(action.parameters, self.traffic.mark or self.edge.mark(), self.judged)
        self.judged = found["judged"]
        return found

    # Afterwards ------------------------------------------------------------------------------------------------------

    def _live(self, _action: Action) -> None:
        self.ledger.set_live(self.version.release)
        for timer in self.ledger.timers():
            if timer.kind in ENDING and timer.release == self.version.release:
                self.ledger.remove_timer(timer.id)

    def _drain(self, action: Action) -> Mapping[str, Any]:
        """Wait until nothing is in flight, for the drain limit where the instances are stopped next (`stops`).

        Past that the rollout continues, and what was in flight is recorded.
        """
        started = time.monotonic()
        limit = self.version.spec.drain_timeout
        is_stopped_next = bool(action.parameters["stops"])
        if not is_stopped_next:
            limit = min(limit, _BRIEFLY)
        while True:
            busy = self._in_flight(action.instances)
            seconds = time.monotonic() - started
            if not busy:
                return {"seconds": round(seconds, 3)}
            if seconds >= limit:
                if is_stopped_next:
                    self.warn(f"cut off after the drain limit of {limit:g} s: {requests_on(busy)}")
                return {"seconds": round(seconds, 3), "still_in_flight": busy}
            self.sleep(_DRAIN_STEP)

    def _in_flight(self, names: Collection[str]) -> dict[str, int]:
        """How many requests each of these instances is answering, where it is any."""
        servers = self.edge.servers() if self.edge.running() else ()
        return {
            state.server.name: state.in_flight for state in servers if state.server.name in names and state.in_flight
        }

    def _warm(self, action: Action) -> Mapping[str, Any]:
        spec, now = self.version.spec, self.clock()
        # One that has ended meanwhile is not in the way: what is left of it is removed with the others.
        releases = {instance.labels.release for instance in self._found(action).values()}
        due = now + spec.warm_for
        if busy := self._in_flight(action.instances):
            due = max(due, now + spec.drain_timeout)
            until = time.strftime("%H:%M:%S", time.localtime(due))
            self.warn(f"not answered yet: {requests_on(busy)}; the version before goes on with them until {until}")
        present = {timer.release for timer in self.ledger.timers() if timer.kind == WARM}
        for release in sorted(releases - present):
            self.ledger.add_timer(WARM, release, due, {"instances": list(action.instances)})
        return {"until": due}

    def _retire(self, action: Action) -> Mapping[str, Any]:
        """Stop what is older than the version before. What still answers requests goes on while it is warm."""
        self._refuse_to_stop_traffic(action)
        warm = {
            name
            for timer in self.ledger.timers()
            if timer.kind == WARM and timer.due_at > self.clock()
            for name in timer.instances
        }
        busy = self._in_flight(action.instances)
        if spared := {name: count for name, count in busy.items() if name in warm}:
            self.warn(f"not answered yet: {requests_on(spared)}, which goes on until its warm window is over")
        if cut := {name: count for name, count in busy.items() if name not in warm}:
            self.warn(f"cut off, since no version is kept warm for them: {requests_on(cut)}")
        action = replace(action, instances=tuple(name for name in action.instances if name not in spared))
        try:
            self._end_older(action)
        except DeploykitError:
            # The rollout goes on without that; the next command that does what is due tries again.
            for release in sorted({instance.labels.release for instance in self._found(action).values()}):
                self.ledger.add_timer(RETIRE, release, self.clock(), {"instances": list(action.instances)})
            raise
        for timer in self.ledger.timers():
            if timer.kind in ENDING and timer.instances <= set(action.instances):
                self.ledger.remove_timer(timer.id)
        return {"still_in_flight": spared, "cut_off": cut} if busy else {}

    def _end_older(self, action: Action) -> None:
        if self.target.starts_at_once:
            # They have had no traffic since the release before this one, so they can stop while the edge forgets
            # them. An engine takes a tenth of a second to stop one.
            with ThreadPoolExecutor(max_workers=1) as pool:
                ended = pool.submit(self._end, action)
                self._detach(action)
                ended.result()
        else:
            self._detach(action)
            self._end(action)

    def _close(self, _action: Action) -> None:
        self.edge.down()
        self.edge.clear()

    def _detach(self, action: Action) -> None:
        if not self.edge.running():
            return
        known = {state.server.name for state in self.edge.servers()}
        for name in action.instances:
            if name in known:
                # They were drained. What is still in flight past the limit (a websocket) is cut off; the step before
                # recorded it.
                self.edge.detach(name, force=True)

    def _stop(self, action: Action) -> None:
        """Stop instances. One that still has weight at the edge is never stopped: users would get nothing."""
        self._refuse_to_stop_traffic(action)
        self._end(action)

    def _refuse_to_stop_traffic(self, action: Action) -> None:
        running = self.edge.running()
        if running and self.edge.maintenance_since() is not None:
            return  # no user gets any
        weights = {state.server.name: state.weight for state in self.edge.servers()} if running else {}
        for name in action.instances:
            if weights.get(name, 0) > 0:
                raise DeploykitError(
                    f"{name} still has the traffic, so it was not stopped",
                    next_step=f"invoke status --env {self.version.spec.environment}",
                )

    def _end(self, action: Action) -> None:
        self._at_once(lambda name: self.target.stop(name, timeout=self._stop_timeout(name)), action.instances)

    def _stop_timeout(self, name: str) -> float:
        instance = self.target.instance(name)
        if instance is None:
            return self.version.spec.stop_timeout
        return stop_timeout(self.ledger, self.version.spec.environment, instance)

    def _forget_dead(self, *, keep: Sequence[str]) -> None:
        """Remove servers whose instances are gone: the machine was restarted, or the target was taken down."""
        alive = {item.name for item in self.target.instances() if item.state is not InstanceState.EXITED}
        dead = {
            state.server.name: state.weight
            for state in self.edge.servers()
            if state.server.name not in alive and state.server.name not in keep
        }
        if weighted := {name: 0 for name, weight in dead.items() if weight}:
            self.edge.set_weights(weighted)
        for name in dead:
            self.edge.detach(name, force=True)

    # Help ------------------------------------------------------------------------------------------------------------

    def _at_once(self, act: Callable[[_One], _Done], on: Sequence[_One]) -> list[_Done]:
        """Do it on all of them, in parallel where the target can.

        The first failure is raised once all others are done.
        """
        if not self.target.starts_at_once or len(on) < 2:
            return [act(each) for each in on]
        with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(on))) as pool:
            return list(pool.map(act, on))

    @staticmethod
    def _web(action: Action) -> Action:
        """The action on the instances that get requests, without other processes."""
        return replace(action, instances=tuple(filter(takes_requests, action.instances)))

    def _instances(self, action: Action) -> list[Instance]:
        found = self._found(action)
        missing = [name for name in action.instances if name not in found or found[name].state is InstanceState.EXITED]
        if missing:
            raise DeploykitError(
                f"{', '.join(missing)} is not running",
                details=[line for name in missing for line in self.target.logs(name)],
                next_step=f"invoke logs --env {self.version.spec.environment}",
            )
        return [found[name] for name in action.instances]

    def _found(self, action: Action) -> dict[str, Instance]:
        return {name: found for name in action.instances if (found := self.target.instance(name)) is not None}

    def _each(self, action: Action, check: Callable[[Instance], float]) -> dict[str, float]:
        """Check all instances at once, and raise the first failure. The other threads end by their own time limits or
        with a cancellation, which each of them looks for.
        """
        found = self._found(action)
        instances = [found[name] for name in action.instances if name in found]
        if len(instances) != len(action.instances):
            raise DeploykitError(f"{', '.join(sorted(set(action.instances) - set(found)))} does not exist any more")
        if len(instances) == 1:
            return {instances[0].name: check(instances[0])}
        with ThreadPoolExecutor(max_workers=min(16, len(instances))) as pool:
            return dict(zip(action.instances, pool.map(check, instances), strict=True))

    @staticmethod
    def _server(instance: Instance) -> Server:
        host, port = instance.edge_address
        return Server(name=instance.name, release=instance.labels.release, host=host, port=port)


def _web_weights(action: Action) -> dict[str, int]:
    return {name: int(weight) for name, weight in action.parameters["weights"].items() if takes_requests(name)}
