"""One change at a time in an environment: the lock is taken in the ledger and on the target itself."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.ledger.interface import Held, LockHeld, StaleToken
from deploykit.ledger.lease import Heartbeat
from deploykit.model.errors import DeploykitError
from deploykit.release.environment.owner import Owner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deploykit.ledger.sql import SqlLedger
    from deploykit.targets.interface import LockHolder, Target

__all__ = ["LEASE_SECONDS", "TargetLocked", "environment_lock"]

LEASE_SECONDS = 30.0
_NOT_SEEN = (
    "it is on another machine or in another container, so whether its process still runs can't be seen from here: "
    f"the lock ends {LEASE_SECONDS:g} s after it was last heard of"
)


@contextmanager
def environment_lock(
    ledger: SqlLedger,
    target: Target,
    reason: str,
    *,
    warn: Callable[[str], None] = lambda _text: None,
    lost: Callable[[], None] = lambda: None,
) -> Iterator[Held]:
    """Hold the environment's lock for the block, and renew it. When it is lost, `warn` and then `lost` are called in
    a thread.

    A lock whose process has ended is taken over with a warning, where that can be seen from here; anyone else's is
    respected until its lease runs out.
    Raises LockHeld (ledger) or DeploykitError (target) with who holds it.
    """

    def on_lost(error: DeploykitError) -> None:
        warn(f"the lock was lost: {error.message}")
        lost()

    owner = str(Owner.me())
    held = _take_ledger(ledger, owner, reason, warn)
    try:
        token = _take_target(target, owner, reason, held.token, warn)
        try:
            with Heartbeat(_Both(ledger, target, reason, token), held, lease=LEASE_SECONDS, lost=on_lost):
                yield held
        finally:
            _give_back(lambda: target.unlock(owner, token=token), warn)
    finally:
        _give_back(lambda: ledger.unlock(owner, held.token), warn)


def _give_back(unlock: Callable[[], None], warn: Callable[[str], None]) -> None:
    """Unlock. A failure must not hide how the block ended: the lock then ends by itself."""
    try:
        unlock()
    except StaleToken:
        pass  # it was taken away meanwhile, and is its new owner's
    except DeploykitError as error:
        warn(f"the lock was not given back, and ends by itself in {LEASE_SECONDS:g} s: {error.message}")


@dataclass(frozen=True)
class _Both:
    """The two locks as one, for the heartbeat."""

    ledger: SqlLedger
    target: Target
    reason: str
    target_token: int

    def heartbeat(self, owner: str, token: int, *, lease: float) -> None:
        self.ledger.heartbeat(owner, token, lease=lease)
        holder = self.target.lock(owner, self.reason, token=self.target_token, lease=lease)
        if holder is not None:
            raise TargetLocked(holder)


def _take_ledger(ledger: SqlLedger, owner: str, reason: str, warn: Callable[[str], None]) -> Held:
    try:
        return ledger.acquire(owner, reason, lease=LEASE_SECONDS)
    except LockHeld as error:
        other = Owner.parse(error.holder.owner)
        if other is None or not other.is_dead():
            if other is not None and not other.can_be_seen():
                raise LockHeld(error.holder, error.environment, _NOT_SEEN) from None
            raise
        ledger.break_lock(owner, f"its process (pid {other.pid}) has ended")
        warn(f"the lock of {other.who} (pid {other.pid}) was left behind by a process that has ended: taken over")
        return ledger.acquire(owner, reason, lease=LEASE_SECONDS)


def _take_target(target: Target, owner: str, reason: str, token: int, warn: Callable[[str], None]) -> int:
    """Take the target's lock; its fencing token, which is the ledger's unless the target has seen greater ones.

    It has when an earlier ledger was lost, or another one releases to the same target: then its own line goes on.
    """
    holder = target.lock(owner, reason, token=token, lease=LEASE_SECONDS)
    if holder is None:
        return token
    other = Owner.parse(holder.owner)
    if other is not None and other.is_dead():
        if target.lock_holder() is not None:
            warn(f"the target's lock of {other.who} (pid {other.pid}) was left behind: taken over")
        target.unlock(holder.owner, token=holder.token)
    if target.lock_holder() is None:
        token = max(token, holder.token + 1)
        holder = target.lock(owner, reason, token=token, lease=LEASE_SECONDS)
    if holder is not None:
        raise TargetLocked(holder)
    return token


class TargetLocked(DeploykitError):
    """Somebody whose record is in another ledger holds the environment on the target."""

    def __init__(self, holder: LockHolder) -> None:
        owner = Owner.parse(holder.owner)
        super().__init__(
            f"the environment is held on its target by {holder.owner}: {holder.reason}",
            details=(_NOT_SEEN,) if owner is not None and not owner.can_be_seen() else (),
            next_step="wait until it is done, or see `invoke status` there",
        )
        self.holder = holder
