"""Which release a rollback goes to, and how that version is run: both from the ledger alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.ledger.interface import StepState
from deploykit.model import DeploykitError, ReleaseOutcome, ReleaseRecord, UsageError
from deploykit.release.version.spec import ReleaseSpec

if TYPE_CHECKING:
    from deploykit.ledger.sql import SqlLedger

__all__ = ["rollback_target", "spec_of"]

_GOOD = frozenset({ReleaseOutcome.DONE, ReleaseOutcome.ROLLED_BACK})
_LOOKED_AT = 1_000


def rollback_target(ledger: SqlLedger, environment: str, to: str) -> ReleaseRecord:
    """The release before the live one, or the newest good one that is `to` (a version or a release's id).

    Raises UsageError when nothing is live, nothing was before, or there is no such release.
    """
    history = f"invoke history --env {environment}"
    live = ledger.live()
    if live is None:
        raise UsageError(f"there is nothing to roll back: nothing is live in {environment}", next_step=history)
    if not to:
        previous = ledger.release(live.previous) if live.previous else None
        if previous is None:
            raise UsageError(
                f"there is nothing to roll back to: {live.version} ({live.id}) is the first release in {environment}",
                next_step=history,
            )
        return previous
    good = [
        record for record in ledger.releases(limit=_LOOKED_AT) if record.kind == "release" and record.outcome in _GOOD
    ]
    named = [record for record in good if to in {record.version, record.id}]
    if not named:
        versions = list(dict.fromkeys(record.version for record in good))[:10]
        raise UsageError(
            f"there is no good release {to!r} in {environment} to roll back to",
            details=[f"there are: {', '.join(versions) or 'none'}"],
            next_step=history,
        )
    if named[0].id == live.id or named[0].digest == live.digest:
        raise UsageError(
            f"{to} is what is live in {environment} already", next_step=f"invoke status --env {environment}"
        )
    return named[0]


def spec_of(ledger: SqlLedger, record: ReleaseRecord, environment: str) -> ReleaseSpec:
    """How that release is run, as its journal has it.

    Raises DeploykitError when it was killed before that was written.
    """
    for step in reversed(ledger.steps(record.id)):
        if step.name == "plan" and step.state is StepState.DONE:
            return ReleaseSpec.from_json(step.action)
    raise DeploykitError(
        f"the ledger does not have how {record.id} is run", next_step=f"invoke history --env {environment} --check"
    )
