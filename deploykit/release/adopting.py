"""Make a lost record anew from what runs: the labels of the instances, and who has the traffic at the edge.

The record can be lost with a disk, or be somebody else's (a file on another machine). What runs says itself which release it
is, of which version and image, and how it is run; the edge says who has the traffic. What neither knows (who released it, from which
commit, what was before) is not made up.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from deploykit.ledger.check import ADOPT
from deploykit.ledger.interface import StepState
from deploykit.model import DeploykitError, Labels, ReleaseOutcome, UsageError
from deploykit.release.build import process_commands
from deploykit.release.instances import SPEC_NOTE
from deploykit.release.owner import actor
from deploykit.release.spec import ReleaseSpec
from deploykit.targets.interface import Instance, InstanceState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploykit.release.surroundings import Surroundings

__all__ = ["Adopted", "Running", "adopt", "adopt_lines", "is_lost", "running_releases"]


@dataclass(frozen=True, kw_only=True)
class Running:
    """One release as target and edge show it. `weight` is its share at the edge, 0 where the edge does not know it."""

    labels: Labels
    instances: tuple[str, ...]
    weight: int
    started_at: float
    spec: ReleaseSpec | None


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """What was taken into the record: the live release, those beside it, and what had to be assumed."""

    live: str
    version: str
    beside: tuple[str, ...]
    assumed: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {"outcome": "done", **asdict(self)}


def running_releases(around: Surroundings) -> list[Running]:
    """What runs, oldest first. Raises DeploykitError when target or edge can't be asked."""
    instances = [item for item in around.target.instances() if item.state is not InstanceState.EXITED]
    weights: dict[str, int] = {}
    if instances and around.edge.running():
        weights = {state.server.name: state.weight for state in around.edge.servers()}
    of: dict[str, list[Instance]] = {}
    for instance in instances:
        of.setdefault(instance.labels.release, []).append(instance)
    found = [
        Running(
            labels=members[0].labels,
            instances=tuple(item.name for item in members),
            weight=sum(weights.get(item.name, 0) for item in members),
            started_at=min(item.started_at for item in members),
            spec=_spec(members[0]),
        )
        for members in of.values()
    ]
    return sorted(found, key=lambda running: (_number(running.labels.release), running.started_at))


def is_lost(around: Surroundings) -> bool:
    """Whether something runs that the record can't know of: it has no release at all."""
    return not around.ledger.releases(limit=1) and any(
        item.state is not InstanceState.EXITED for item in around.target.instances()
    )


def adopt(around: Surroundings, *, token: int) -> Adopted:
    """Take what runs into an empty record. To be called with the environment's lock held.

    Raises UsageError when nothing runs or the record is not empty, DeploykitError when it can't be told who has the traffic.
    """
    name = around.name
    if around.ledger.releases(limit=1):
        raise UsageError(
            f"the record of {name} is not lost: it has releases",
            next_step=f"invoke history --env {name} --check   (compares it with what runs)",
        )
    found = running_releases(around)
    if not found:
        raise UsageError(
            f"nothing of {around.app} runs in {name}, so there is nothing to take into the record",
            next_step=f"invoke release --env {name}",
        )
    live = _with_the_traffic(around, found)
    assumed: list[str] = []
    specs = {running.labels.release: running.spec or _present_spec(around, running, assumed) for running in found}
    beside = [running for running in found if running is not live]
    for running in (*beside, live):
        _record(around, running, specs[running.labels.release], previous=_before(live, beside, running), token=token)
    around.ledger.set_live(live.labels.release)
    for running in beside:
        due = time.time() + specs[running.labels.release].warm_for
        around.ledger.add_timer("warm", running.labels.release, due, {"instances": list(running.instances)})
    return Adopted(
        live=live.labels.release,
        version=live.labels.version,
        beside=tuple(running.labels.release for running in beside),
        assumed=tuple(assumed),
    )


def adopt_lines(adopted: Adopted, environment: str) -> list[str]:
    beside = f"; beside it {', '.join(adopted.beside)}, kept warm" if adopted.beside else ""
    return [
        f"the record is made anew from what runs in {environment}: {adopted.version} ({adopted.live}) has the traffic{beside}",
        *(f"assumed: {sentence}" for sentence in adopted.assumed),
    ]


def _with_the_traffic(around: Surroundings, found: Sequence[Running]) -> Running:
    if len(found) == 1:
        return found[0]
    weighted = [running for running in found if running.weight > 0]
    if len(weighted) == 1:
        return weighted[0]
    seen = [f"{each.labels.release} ({each.labels.version}): weight {each.weight}" for each in found]
    if not weighted:
        raise DeploykitError(
            f"{len(found)} releases run in {around.name}, and the edge sends users to none of them",
            details=seen,
            next_step=f"stop those that are not wanted (docker stop NAME), then: invoke ledger.adopt --env {around.name}",
        )
    raise DeploykitError(
        f"the traffic of {around.name} is shared by {len(weighted)} releases: a rollout was under way when the record was lost",
        details=seen,
        next_step=f"stop the one that is not wanted (docker stop NAME), then: invoke ledger.adopt --env {around.name}",
    )


def _before(live: Running, beside: Sequence[Running], running: Running) -> str:
    """The newest of those that are kept warm is what was live before, as far as can be known."""
    return beside[-1].labels.release if running is live and beside else ""


def _record(around: Surroundings, running: Running, spec: ReleaseSpec, *, previous: str, token: int) -> None:
    ledger, labels = around.ledger, running.labels
    record = ledger.begin(
        version=labels.version,
        digest=labels.digest,
        commit="",
        tree="",
        actor=actor(),
        kind="release",
        previous=previous,
        token=token,
        release=labels.release,
    )
    what = {"anchor": labels.anchor, "instances": list(running.instances), "started_at": running.started_at}
    for name, action in ((ADOPT, what), ("plan", spec.as_json())):
        step = ledger.intend(record.id, name, action, token=token)
        ledger.result(step, StepState.DONE, {})
    ledger.finish(record.id, ReleaseOutcome.DONE, "taken into the record from what runs; who released it is not known")


def _present_spec(around: Surroundings, running: Running, assumed: list[str]) -> ReleaseSpec:
    """How it would be run by today's settings, where it does not say itself how it is run."""
    release = running.labels.release
    if around.loaded is None or around.environment is None:
        raise DeploykitError(
            f"{release} ({running.labels.version}) does not say how it is run, and there are no settings here",
            next_step=f"type it in the repository: invoke ledger.adopt --env {around.name}",
        )
    loaded = around.loaded
    command = () if around.place.shared and not loaded.settings.service.command else loaded.require_command()
    assumed.append(f"{release} is run as the settings here say now")
    argv = around.place.argv(command)
    return ReleaseSpec.from_settings(loaded.settings, around.name, around.environment, argv, process_commands(around))


def _spec(instance: Instance) -> ReleaseSpec | None:
    try:
        return ReleaseSpec.from_json(json.loads(instance.notes[SPEC_NOTE]))
    except (KeyError, ValueError, TypeError):
        return None  # made by a version of the kit that kept none, or by a later one


def _number(release: str) -> int:
    return int(release[1:]) if release[1:].isdigit() else 0
