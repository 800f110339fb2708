"""Instances that were not started by this ledger.

Two ledgers of one environment number their releases alike, and so does an older copy of one. `r2` of one is not `r2` of
the other, but both name their instances so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.model import UsageError

if TYPE_CHECKING:
    from deploykit.release.environment import Environment

__all__ = ["reject_foreign_instances"]


def reject_foreign_instances(environment: Environment, *, unknown: bool = True) -> None:
    """Raise UsageError when an instance belongs to another ledger.

    Its release has another artefact in this one or, with `unknown`, is not in it at all. Call it with the environment's
    lock held.
    """
    name, ledger = environment.name, environment.ledger
    found = []
    for instance in environment.target.instances():
        record = ledger.release(instance.labels.release)
        foreign = unknown if record is None else record.digest not in {"", instance.labels.digest}
        if foreign:
            found.append(f"{instance.name}: version {instance.labels.version}")
    if not found:
        return
    if environment.hosting.shared:
        advice = (
            f'set ledger = "env:DEPLOYKIT_LEDGER" under [tool.deploykit.environments.{name}], so that all share one; '
            "or release from where it was released"
        )
    else:
        advice = f"restore the newest copy of {environment.paths.ledger}; or stop what runs: invoke down --env {name}"
    if ledger.releases(limit=1):
        raise UsageError(
            f"what runs in {name} was released with another ledger than this one",
            details=[*found, "two ledgers would each take the other's instances for their own"],
            next_step=advice,
        )
    raise UsageError(
        f"what runs in {name} was released with another ledger than this one, which is empty",
        details=found,
        next_step=f"if the ledger was lost: invoke ledger.adopt --env {name}; if it was not: {advice}",
    )
