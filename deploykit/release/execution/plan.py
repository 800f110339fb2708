"""Who has the traffic, what else runs, and so who takes over from whom: read from the edge and the target, not
assumed; and read back from the journal of a rollout that was interrupted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from deploykit.model import DeploykitError, UsageError
from deploykit.release.version.instances import WEB, release_of, takes_requests
from deploykit.rollout import Members, Plan, Strategy, make_stages
from deploykit.targets.interface import InstanceState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploykit.edge.interface import Edge
    from deploykit.ledger.interface import Step
    from deploykit.model import ReleaseRecord
    from deploykit.release.version.spec import ReleaseSpec
    from deploykit.targets.interface import Target

__all__ = ["make_plan", "recorded_plan"]

_INSTANCE = re.compile(r"r[0-9]{1,9}-[A-Za-z0-9_.-]{1,64}-[0-9]{1,4}")


def recorded_plan(step: Step, environment: str) -> Plan:
    """The plan in a journal's step `rollout`. Raises DeploykitError where it is none: its names are used on the target,
    in paths and requests.
    """
    try:
        plan = Plan.from_json(step.action)
        shared = [name for stage in plan.stages for name in (*stage.weights, *stage.routes.values())]
        names = (*plan.candidate, *plan.stable, *plan.older, *plan.kept, *shared)
        odd = [name for name in names if not _INSTANCE.fullmatch(name)]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        odd = [f"{type(error).__name__}: {error}"]
    if odd:
        raise DeploykitError(
            f"the plan of {step.release} in the ledger is none: {odd[0]!r}",
            next_step=f"invoke history --env {environment} --check",
        )
    return plan


def make_plan(
    target: Target,
    edge: Edge,
    live: ReleaseRecord | None,
    candidate: Sequence[str],
    spec: ReleaseSpec,
    *,
    judged: bool,
) -> Plan:
    """The rollout's plan for the instances `candidate`, by the strategy of `spec`.

    Stable is what the edge sends users to now, or will once it is back; anything else that runs may be retired. A
    rollback (not `judged`) gives all users the version at once, as far as both versions may run at the same time.

    Raises UsageError where the strategy can't be followed with so many instances.
    """
    instances = target.instances()
    alive = {instance.name for instance in instances if instance.state is not InstanceState.EXITED}
    known = {instance.name for instance in instances}
    # A process that takes no requests has no weight: it is ended with what is retired, once the new version is trusted.
    if edge.running():
        weighted = {state.server.name for state in edge.servers() if state.weight > 0}
    else:
        # A proxy that is being restarted gives the traffic to what had it, and that is the live version.
        weighted = {
            item.name
            for item in instances
            if live is not None and item.labels.release == live.id and item.process == WEB
        }
    new = set(candidate)
    strategy = spec.rollout
    if (strategy.name == "canary" and not judged) or new <= alive:
        strategy = Strategy()
    stable = sorted((weighted & alive) - new)
    beside: list[str] = []
    if strategy.name == "recreate":
        releases = {release_of(name) for name in stable}
        beside = sorted(name for name in alive - new - set(stable) if release_of(name) in releases)
    members = Members(
        candidate=tuple(filter(takes_requests, candidate)),
        stable=tuple(stable),
        others=tuple(name for name in candidate if not takes_requests(name)),
        stable_others=tuple(beside),
    )
    try:
        stages = make_stages(strategy, members, sum(spec.watch))
    except ValueError as error:
        raise UsageError(
            f"the strategy {strategy.name} can't be followed in {spec.environment}: {error}",
            next_step=f"set max_surge or max_unavailable in [tool.deploykit.environments.{spec.environment}.rollout]",
        ) from None
    return Plan(
        candidate=tuple(candidate),
        stages=stages,
        stable=(*stable, *beside),
        older=tuple(sorted(known - new - {*stable, *beside})),
        kept=tuple(name for name in candidate if name in alive),
        judged=judged,
        warm=strategy.name in {"blue-green", "canary"},
        lease=strategy.lease if strategy.name == "canary" and stable else 0.0,
    )
