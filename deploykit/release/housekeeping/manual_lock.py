"""`invoke lock` and `invoke unlock`: a lock that a person holds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from deploykit.model import UsageError
from deploykit.release.environment.owner import Owner, actor

if TYPE_CHECKING:
    from deploykit.ledger.interface import Held
    from deploykit.release.environment import Environment

__all__ = ["lock_environment", "unlock_environment"]


def lock_environment(environment: Environment, reason: str, hours: float) -> Held:
    """Take a lock without a process behind it. It ends by `invoke unlock`, or after `hours`."""
    if not 0 < hours <= 24 * 30:
        raise UsageError("a lock lasts more than 0 and at most 720 hours", next_step="add --hours 8")
    return environment.ledger.acquire(f"{actor()} (by hand)", reason, lease=hours * 3_600.0)


def unlock_environment(environment: Environment, reason: str, *, force: bool) -> str:
    """Take the lock away; the ledger keeps who did. `force`: also a lock whose process still works."""
    name, ledger, target = environment.name, environment.ledger, environment.target
    holder = ledger.holder()
    if holder is None:
        return f"{name} is not locked"
    owner = Owner.parse(holder.owner)
    if owner is not None and not owner.is_dead() and holder.expires_at > time.time() and not force:
        state = "is at work" if owner.can_be_seen() else "may be at work, which can't be seen from this machine"
        raise UsageError(
            f"{holder.owner} {state}: {holder.reason}",
            next_step=f"wait; or, knowing that it must stop: invoke unlock --env {name} --force",
        )
    ledger.break_lock(str(Owner.me()), reason)
    if (on_target := target.lock_holder()) is not None:
        target.unlock(on_target.owner, token=on_target.token)
    return f"{name} is free again; it was held by {holder.owner}: {holder.reason}"
