"""How a rollback gets its version to users, and why in that way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.ledger.interface import WARM
from deploykit.release.reporting.text import clock
from deploykit.release.version.instances import instance_names
from deploykit.targets.interface import InstanceState

if TYPE_CHECKING:
    from deploykit.model import ReleaseRecord
    from deploykit.release.environment import Environment
    from deploykit.release.version.spec import ReleaseSpec

__all__ = ["FROM_ARTEFACT", "SWITCH", "Method", "rollback_method"]

SWITCH = "traffic switch"
FROM_ARTEFACT = "from its artefact"


@dataclass(frozen=True, kw_only=True)
class Method:
    """`name` is `SWITCH` or `FROM_ARTEFACT`; `why` is a clause."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name}: {self.why}"


def rollback_method(environment: Environment, wanted: ReleaseRecord, spec: ReleaseSpec) -> Method:
    """By what runs now: whatever of the version runs is not started again."""
    names = set(instance_names(wanted.id, spec))
    runs = {item.name for item in environment.target.instances() if item.state is not InstanceState.EXITED} & names
    if runs == names:
        due = [
            timer.due_at for timer in environment.ledger.timers() if (timer.kind, timer.release) == (WARM, wanted.id)
        ]
        until = f" (warm until {clock(max(due))})" if due else ""
        return Method(name=SWITCH, why=f"{wanted.version} still runs{until}")
    if runs:
        why = f"{len(runs)} of {len(names)} instances of {wanted.version} still run; the others are started first"
        return Method(name=FROM_ARTEFACT, why=why)
    return Method(name=FROM_ARTEFACT, why=f"{wanted.version} does not run any more; it is started first")
