"""Who has the traffic, what else runs, and so who takes over from whom: read from the edge and the target, not
assumed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.release.version.instances import WEB
from deploykit.rollout import Plan
from deploykit.targets.interface import InstanceState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploykit.edge.interface import Edge
    from deploykit.model import ReleaseRecord
    from deploykit.targets.interface import Target

__all__ = ["make_plan"]


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
