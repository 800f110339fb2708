"""What runs in an environment by its labels and by the edge, whatever the ledger knows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.release.version.instances import SPEC_NOTE
from deploykit.release.version.spec import ReleaseSpec
from deploykit.targets.interface import Instance, InstanceState

if TYPE_CHECKING:
    from deploykit.model import Labels
    from deploykit.release.environment.environment import Environment

__all__ = ["Running", "ledger_is_lost", "running_releases"]


@dataclass(frozen=True, kw_only=True)
class Running:
    """One release as target and edge show it. `weight` is its weight at the edge, 0 where the edge does not know it."""

    labels: Labels
    instances: tuple[str, ...]
    weight: int
    started_at: float
    spec: ReleaseSpec | None


def running_releases(environment: Environment) -> list[Running]:
    """What runs, oldest first. Raises DeploykitError when target or edge can't be asked."""
    instances = [item for item in environment.target.instances() if item.state is not InstanceState.EXITED]
    weights: dict[str, int] = {}
    if instances and environment.edge.running():
        weights = {state.server.name: state.weight for state in environment.edge.servers()}
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


def ledger_is_lost(environment: Environment) -> bool:
    """Whether something runs and the ledger has no release at all."""
    return not environment.ledger.releases(limit=1) and any(
        item.state is not InstanceState.EXITED for item in environment.target.instances()
    )


def _spec(instance: Instance) -> ReleaseSpec | None:
    try:
        return ReleaseSpec.from_json(json.loads(instance.notes[SPEC_NOTE]))
    except (KeyError, ValueError, TypeError):
        return None  # made by a version of the kit that kept none, or by a later one


def _number(release: str) -> int:
    return int(release[1:]) if release[1:].isdigit() else 0
