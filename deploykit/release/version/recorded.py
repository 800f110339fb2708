"""Which release a rollback goes to, and how that version is run: both from the ledger alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.ledger.interface import Step, StepState
from deploykit.model import DeploykitError, ReleaseOutcome, ReleaseRecord, UsageError
from deploykit.release.version.spec import ReleaseSpec
from deploykit.release.version.values import read_values

if TYPE_CHECKING:
    from pathlib import Path

    from deploykit.ledger.sql import SqlLedger
    from deploykit.targets.interface import Instance

__all__ = ["good_releases", "other_version_before", "rollback_target", "spec_of", "stop_timeout"]

_GOOD = frozenset({ReleaseOutcome.DONE, ReleaseOutcome.ROLLED_BACK})
_LOOKED_AT = 1_000
_STOP_SECONDS = 10.0


def rollback_target(ledger: SqlLedger, environment: str, to: str, values_folder: Path) -> ReleaseRecord:
    """The newest earlier release that is not the same as what is live; with `to`, the newest good one that is it.

    `to` is a version or a release's id. Two releases are the same when digest, spec and variables are. `values_folder`
    has the variables of releases from this machine; those of others count as equal.
    Raises UsageError when nothing is live, or there is no such release.
    """
    history = f"invoke history --env {environment}"
    live = ledger.live()
    if live is None:
        raise UsageError(f"there is nothing to roll back: nothing is live in {environment}", next_step=history)
    if not to:
        return other_version_before(ledger, environment, live, values_folder)
    good = good_releases(ledger)
    named = [record for record in good if to in {record.version, record.id}]
    if not named:
        versions = list(dict.fromkeys(record.version for record in good))[:10]
        raise UsageError(
            f"there is no good release {to!r} in {environment} to roll back to",
            details=[f"there are: {', '.join(versions) or 'none'}"],
            next_step=history,
        )
    if _is_same(ledger, named[0], live, values_folder):
        raise UsageError(
            f"{to} is what is live in {environment} already", next_step=f"invoke status --env {environment}"
        )
    return named[0]


def good_releases(ledger: SqlLedger) -> list[ReleaseRecord]:
    """The releases that went well, the newest first."""
    return [
        record for record in ledger.releases(limit=_LOOKED_AT) if record.kind == "release" and record.outcome in _GOOD
    ]


def other_version_before(
    ledger: SqlLedger, environment: str, live: ReleaseRecord, values_folder: Path
) -> ReleaseRecord:
    """Where a rollback goes from `live`. Raises UsageError when there is no such release."""
    seen, found = {live.id}, live
    while found.previous and found.previous not in seen and (before := ledger.release(found.previous)) is not None:
        if not _is_same(ledger, before, live, values_folder):
            return before
        seen.add(before.id)
        found = before
    what = f"{live.version} ({live.id}) is the first release in {environment}"
    if len(seen) > 1:
        what = f"every release in {environment} so far is the same as what is live, {live.version}"
    raise UsageError(f"there is nothing to roll back to: {what}", next_step=f"invoke history --env {environment}")


def _is_same(ledger: SqlLedger, one: ReleaseRecord, other: ReleaseRecord, values_folder: Path) -> bool:
    """Whether a rollback from one to the other would change nothing."""
    if one.id == other.id or one.digest != other.digest:
        return one.id == other.id
    specs = [_spec_steps(ledger, record) for record in (one, other)]
    if all(specs) and specs[0][-1].action != specs[1][-1].action:
        return False
    values = [read_values(values_folder, record.id) for record in (one, other)]
    return not all(values) or values[0] == values[1]


def _spec_steps(ledger: SqlLedger, record: ReleaseRecord) -> list[Step]:
    return [step for step in ledger.steps(record.id) if step.name == "plan" and step.state is StepState.DONE]


def spec_of(ledger: SqlLedger, record: ReleaseRecord, environment: str) -> ReleaseSpec:
    """How that release is run, as its journal has it.

    Raises DeploykitError when it was killed before that was written, and when it can't be read.
    """
    check = f"invoke history --env {environment} --check"
    if not (steps := _spec_steps(ledger, record)):
        raise DeploykitError(f"the ledger does not have how {record.id} is run", next_step=check)
    try:
        return ReleaseSpec.from_json(steps[-1].action)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"how {record.id} is run can't be read from the ledger"
        raise DeploykitError(what, details=[f"{type(error).__name__}: {error}"], next_step=check) from None


def stop_timeout(ledger: SqlLedger, environment: str, instance: Instance) -> float:
    """Seconds that an instance gets to stop, by the spec of its own release; 10 where the ledger does not have that."""
    record = ledger.release(instance.labels.release)
    if record is None or not _spec_steps(ledger, record):
        return _STOP_SECONDS
    spec = spec_of(ledger, record, environment)
    process = spec.process(instance.process)
    return process.stop_timeout if process is not None else spec.stop_timeout
