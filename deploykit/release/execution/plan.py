"""Who has the traffic, what else runs, and so who takes over from whom: read from the edge and the target, not
assumed; and read back from the journal of a rollout that was interrupted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from deploykit.model import DeploykitError
from deploykit.release.version.instances import WEB
from deploykit.rollout import Plan
from deploykit.targets.interface import InstanceState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploykit.edge.interface import Edge
    from deploykit.ledger.interface import Step
    from deploykit.model import ReleaseRecord
    from deploykit.targets.interface import Target

__all__ = ["make_plan", "recorded_plan"]

_INSTANCE = re.compile(r"r[0-9]{1,9}-[A-Za-z0-9_.-]{1,64}-[0-9]{1,4}")


def recorded_plan(step: Step, environment: str) -> Plan:
    """The plan in a journal's step `rollout`. Raises DeploykitError where it is none: its names are used on the target,
    in paths and requests.
    """
    try:
        plan = Plan.from_json(step.action)
        names = (*plan.candidate, *plan.stable, *plan.older, *plan.kept)
        odd = [name for name in names if not _INSTANCE.fullmatch(name)]
    except (KeyError, TypeError, ValueError) as error:
        odd = [f"{type(error).__name__}: {error}"]
    if odd:
        raise DeploykitError(
            f"the plan of {step.release} in the ledger is none: {odd[0]!r}",
            next_step=f"invoke history --env {environment} --check",
        )
    return plan


def make_plan(
    target: Target, edge: Edge, live: ReleaseRecord | None, candidate: Sequence[str], *, judged: bool
) -> Plan:
    """The rollout's plan for the instances `candidate`.

    Stable is what the edge sends users to now, or will once it is back; anything else that runs may be retired.
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
    stable = tuple(sorted((weighted & alive) - new))
    older = tuple(sorted(known - new - set(stable)))
    return Plan(
        candidate=tuple(candidate),
        stable=stable,
        older=older,
        kept=tuple(name for name in candidate if name in alive),
        judged=judged,
    )
