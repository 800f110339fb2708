"""`invoke ledger.accept`: from now on the ledger is what this machine compares with, as it is.

For a ledger that was restored from a backup, or moved. A chain that does not hold in itself can't be accepted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.model import DeploykitError, UsageError
from deploykit.release.environment.lock import environment_lock
from deploykit.release.environment.trust import SEEN_HERE, anchors_of, remember_head
from deploykit.release.version.recorded import spec_of
from deploykit.release.version.released import read_released
from deploykit.release.version.values import file_of

if TYPE_CHECKING:
    from deploykit.model import ReleaseRecord
    from deploykit.release.environment import Environment

__all__ = ["accept_ledger"]

_LOOKED_AT = 1_000


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
        said = []
        for record in ledger.releases(limit=_LOOKED_AT):
            if _disagrees(environment, record):
                file_of(environment.paths.released, record.id).unlink(missing_ok=True)
                said.append(f"{record.id} ({record.version}) is not what this machine released by that name")
        remember_head(environment)
    return said


def _disagrees(environment: Environment, record: ReleaseRecord) -> bool:
    """Whether this machine has released something else by that name, or what it keeps can't be read."""
    try:
        made_here = read_released(environment.paths.released, record.id)
        if made_here is None:
            return False
        recorded = spec_of(environment.ledger, record, environment.name)
    except DeploykitError:
        return True
    return made_here.spec != recorded or record.digest not in {"", made_here.digest}
