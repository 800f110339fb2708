"""`invoke ledger.accept`: from now on the ledger is what this machine compares with, as it is.

For a ledger that was restored from a backup, or moved. A chain that does not hold in itself can't be accepted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.model import UsageError
from deploykit.release.environment.lock import environment_lock
from deploykit.release.environment.trust import SEEN_HERE, anchors_of, others_by_that_name, remember_head
from deploykit.release.version.values import file_of

if TYPE_CHECKING:
    from deploykit.release.environment import Environment

__all__ = ["accept_ledger"]


def accept_ledger(environment: Environment) -> list[str]:
    """Forget what this machine knew of another ledger; what was forgotten, one sentence each.

    Raises UsageError where the chain does not hold in itself, or what runs contradicts it.
    """
    name, ledger = environment.name, environment.ledger
    with environment_lock(ledger, environment.target, "ledger.accept"):
        anchors = {where: anchor for where, anchor in anchors_of(environment).items() if where != SEEN_HERE}
        if problems := ledger.check(anchors):
            raise UsageError(
                f"the ledger of {name} does not hold, whatever this machine knew before, so it is not accepted",
                details=[problem.message for problem in problems[:5]],
                next_step=f"begin a new one from what runs: invoke ledger.adopt --env {name} --replace",
            )
        others = others_by_that_name(environment)
        for release in others:
            file_of(environment.paths.released, release).unlink(missing_ok=True)
        remember_head(environment)
    return list(others.values())
