"""What is live and what runs, read from the target and the edge, next to what the ledger has."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from deploykit.ledger.interface import WARM
from deploykit.model import DeploykitError, ReleaseOutcome, ReleaseRecord
from deploykit.release.environment.owner import Owner
from deploykit.release.environment.running import ledger_is_lost, running_releases
from deploykit.release.environment.trust import does_not_hold, ledger_problems
from deploykit.release.queries.rollout_status import RolloutStatus, next_commands, read_rollout
from deploykit.release.reporting.text import times
from deploykit.targets.interface import InstanceState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deploykit.ledger.interface import Held
    from deploykit.release.environment import Environment
    from deploykit.release.environment.running import Running

__all__ = ["InstanceStatus", "Status", "next_steps", "read_status"]


@dataclass(frozen=True, kw_only=True)
class InstanceStatus:
    """One instance. `weight` is None where the edge does not know it.

    `role` is "live", "warm", "new" (of a release that has not ended), "left over", or "foreign": another ledger has
    started it, so its release is not in this one, or is another version there.
    """

    name: str
    version: str
    release: str
    state: str
    address: str
    weight: int | None
    in_flight: int
    restarts: int
    exit_code: int | None
    role: str
    pid: int | None


@dataclass(frozen=True, kw_only=True)
class Status:
    """`unfinished` is a release that has not ended; `at_work`: the process that holds the lock runs, as far as can be
    known.

    `supervised_by` is what starts again that which ends by itself (the supervisor, the engine), empty when it does
    not run.
    """

    app: str
    environment: str
    url: str
    edge: str
    live: str
    version: str
    since: float | None
    instances: Sequence[InstanceStatus]
    lock: str
    unfinished: str
    at_work: bool
    target: str
    supervised_by: str
    warm_until: float | None
    accessories: Sequence[Mapping[str, Any]] = ()
    """The app's accessories: `name`, `image`, `state`, `restarts`."""
    proven: bool = True
    """False: the ledger has what is live from its labels alone (`invoke ledger.adopt`)."""
    read_from_target: bool = False
    """The ledger knows nothing of what runs: all this was read from the target and the edge."""
    rollout: RolloutStatus | None = None
    """Of the release that has not ended, once it has come to it."""
    rollout_problem: str = ""
    """Why its journal can't be read."""
    maintenance_since: float | None = None
    """Since when users get the maintenance page. None: they do not."""
    maintenance_by: str = ""
    """Who switched it on; empty: a release did."""
    ledger_problems: Sequence[str] = ()
    """What of the ledger does not hold: then no command acts on it, and what is shown of it may be wrong."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences on what is wrong with the ledger, with what users get, or with the app's other processes."""
        found = [_does_not_hold(self.ledger_problems)] if self.ledger_problems else []
        if not self.live:
            return (*found, self.rollout_problem) if self.rollout_problem else tuple(found)
        if self.edge != "running":
            found.append("the edge does not run")
        live = [item for item in self.instances if item.role == "live"]
        if not any(item.state != InstanceState.EXITED.value for item in live):
            found.append(f"nothing of {self.version} ({self.live}) runs, which is live in the ledger")
        for item in live:
            if item.restarts:
                found.append(f"{item.name} ended by itself {times(item.restarts)} since it was started")
            elif item.state != InstanceState.RUNNING.value:
                found.append(f"{item.name} does not run")
        if not self.unfinished:
            found += [
                f"{item.name} has users' traffic, and is not what the ledger has as live"
                for item in self.instances
                if item.weight and item.role != "live"
            ]
        return (*found, *([self.rollout_problem] if self.rollout_problem else []))

    @property
    def exit_code(self) -> int:
        return 1 if self.problems else 0

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "problems": list(self.problems), "next_step": next_steps(self)[0]}


def read_status(environment: Environment) -> Status:
    """Look, and change nothing. Raises DeploykitError where the ledger can't even be read."""
    broken = ledger_problems(environment)
    try:
        return replace(_as_recorded(environment), ledger_problems=broken)
    except DeploykitError:
        if broken:
            raise does_not_hold(environment, broken) from None
        raise


def _as_recorded(environment: Environment) -> Status:
    live = environment.ledger.live()
    unfinished = environment.ledger.unfinished()
    # A rollback makes an earlier release live again: the newest change that was done says since when.
    changed = [record for record in environment.ledger.releases() if record.outcome is ReleaseOutcome.DONE]
    running = environment.edge.running()
    holder = environment.ledger.holder()
    owner = Owner.parse(holder.owner) if holder is not None else None
    servers = {state.server.name: state for state in environment.edge.servers()} if running else {}
    rollout, rollout_problem = None, ""
    if unfinished is not None:
        weights = {name: state.weight for name, state in servers.items()} if running else None
        try:
            rollout = read_rollout(environment, unfinished, weights, holder)
        except DeploykitError as error:
            rollout_problem = error.message
    maintenance_since = environment.edge.maintenance_since() if running else None
    warm = {timer.release: timer.due_at for timer in environment.ledger.timers() if timer.kind == WARM}
    lost = _lost(environment) if live is None and not changed else None
    instances = []
    for instance in environment.target.instances():
        state = servers.get(instance.name)
        release = instance.labels.release
        role = "live" if live is not None and release == live.id else "warm" if release in warm else "left over"
        if lost is not None:
            has_traffic = lost.labels.release == release
            role = "live" if has_traffic else "warm"
        if unfinished is not None and release == unfinished.id and role == "left over":
            role = "new"
        record = environment.ledger.release(release)
        if lost is None and (record is None or record.digest not in {"", instance.labels.digest}):
            role = "foreign"
        instances.append(
            InstanceStatus(
                name=instance.name,
                version=instance.labels.version,
                release=release,
                state=instance.state.value,
                address=f"{instance.host}:{instance.port}",
                weight=state.weight if state is not None else None,
                in_flight=state.in_flight if state is not None else 0,
                restarts=instance.restarts,
                exit_code=instance.exit_code,
                role=role,
                pid=instance.pid,
            )
        )
    return Status(
        app=environment.app,
        environment=environment.name,
        url=environment.edge.url(),
        edge="running" if running else "not running",
        live=live.id if live is not None else lost.labels.release if lost is not None else "",
        version=live.version if live is not None else lost.labels.version if lost is not None else "",
        since=_ended(changed[0] if changed else live) if live is not None else lost.started_at if lost else None,
        instances=instances,
        lock=_lock(holder, owner),
        unfinished=f"{unfinished.id} ({unfinished.kind} of {unfinished.version})" if unfinished is not None else "",
        at_work=holder is not None and (owner is None or not owner.is_dead()),
        target=environment.hosting.kind,
        supervised_by=environment.hosting.supervised_by(),
        warm_until=max(warm.values(), default=None),
        accessories=list(environment.hosting.accessories()),
        proven=lost is None and (live is None or live.id not in environment.ledger.adopted()),
        read_from_target=lost is not None,
        rollout=rollout,
        rollout_problem=rollout_problem,
        maintenance_since=maintenance_since,
        maintenance_by=_switched_on_by(environment) if maintenance_since is not None else "",
    )


def _switched_on_by(environment: Environment) -> str:
    newest = environment.ledger.maintenance(limit=1)
    return newest[0].actor if newest and newest[0].enabled else ""


def _lost(environment: Environment) -> Running | None:
    """What has the traffic where the ledger knows of no release at all."""
    if not ledger_is_lost(environment):
        return None
    found = running_releases(environment)
    return max(found, key=lambda running: running.weight) if any(each.weight for each in found) else None


def _ended(record: ReleaseRecord) -> float:
    return record.finished_at or record.started_at


def _lock(holder: Held | None, owner: Owner | None) -> str:
    if holder is None:
        return ""
    if owner is None:
        return f"{holder.owner}: {holder.reason}"
    left = ", which has ended" if owner.is_dead() else "" if owner.can_be_seen() else ", not seen from this machine"
    return f"{owner.who}@{owner.host} (pid {owner.pid}{left}): {holder.reason}"


def _does_not_hold(problems: Sequence[str]) -> str:
    more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
    return f"the ledger does not hold, so what it says may be wrong: {problems[0]}{more}"


def next_steps(status: Status) -> list[str]:
    """The commands that somebody who reads it may want now."""
    env = f"--env {status.environment}"
    if status.ledger_problems:
        return [f"invoke history {env} --check"]
    if status.unfinished and status.at_work:
        wait = f"wait until it is done, then: invoke status {env}"
        return [wait, *(next_commands(status.rollout, env) if status.rollout is not None else ())]
    if status.unfinished:
        return [f"invoke release {env} --resume   (finish it)", f"invoke rollback {env}   (undo it)"]
    if status.read_from_target or not status.live:
        restore = f"invoke ledger.adopt {env}   (restores the ledger from what runs)"
        return [restore if status.read_from_target else f"invoke release {env}"]
    return _next_of_live(status, env)


def _next_of_live(status: Status, env: str) -> list[str]:
    running = [item for item in status.instances if item.state != InstanceState.EXITED.value]
    if running and not status.supervised_by:
        return [f"invoke release {env}   (without its supervisor, what ends is not started again)"]
    if not any(item.role == "live" for item in running) or status.edge != "running":
        return [f"invoke release {env}   (what is live in the ledger does not run)"]
    if status.maintenance_since is not None:
        return [f"invoke maintenance.off {env}   (users get the app again)"]
    return [f"invoke history {env}", f"invoke logs {env} --follow"]
