"""What runs in an environment, and was not started by this record.

Two records of one environment count their releases alike: `r1` of one is not `r1` of the other, but both name their instances so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.model import UsageError

if TYPE_CHECKING:
    from deploykit.release.surroundings import Surroundings

__all__ = ["refuse_strangers"]


def refuse_strangers(around: Surroundings, *, unknown: bool = True) -> None:
    """Raise UsageError when an instance is of another record: its release has another artefact here or, with `unknown`,
    is not here at all. To be called with the environment's lock held.
    """
    if not around.place.shared:
        return
    found = []
    for instance in around.target.instances():
        record = around.ledger.release(instance.labels.release)
        if unknown if record is None else record.digest not in {"", instance.labels.digest}:
            found.append(f"{instance.name}: version {instance.labels.version}")
    if found and not around.ledger.releases(limit=1):
        raise UsageError(
            f"what runs in {around.name} was released by another record than this one, which is empty",
            details=found,
            next_step=f"if the record was lost: invoke ledger.adopt --env {around.name}; if others release there from theirs: set "
            f'ledger = "env:DEPLOYKIT_LEDGER" under [tool.deploykit.environments.{around.name}], so that all have one',
        )
    if found:
        raise UsageError(
            f"what runs in {around.name} was released by another record than this one",
            details=[*found, "two records would take one another's containers for their own"],
            next_step=f'set ledger = "env:DEPLOYKIT_LEDGER" under [tool.deploykit.environments.{around.name}], so that all '
            "who release there have one record; or release from where it was released",
        )
