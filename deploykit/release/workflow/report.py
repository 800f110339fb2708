"""The report at the end of a release or rollback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.model import DeploykitError, ReleaseOutcome
from deploykit.release.reporting.reporter import ReleaseReport
from deploykit.release.version.recorded import rollback_target

if TYPE_CHECKING:
    from deploykit.ledger.interface import Step
    from deploykit.model import ReleaseRecord
    from deploykit.release.environment import Environment
    from deploykit.release.reporting.reporter import Stages

__all__ = ["make_report"]


def make_report(
    environment: Environment, stages: Stages, record: ReleaseRecord, error: DeploykitError | None, *, reason: str = ""
) -> ReleaseReport:
    """What is reported of a release as it is in the ledger.

    `error` has details, next step and exit code where it failed.
    """
    by_outcome = 0 if record.outcome is ReleaseOutcome.DONE else 1
    return ReleaseReport(
        outcome=record.outcome.value,
        release=record.id,
        app=environment.app,
        environment=environment.name,
        version=record.version,
        digest=record.digest,
        url=environment.edge.url(),
        anchor=environment.ledger.head(),
        stages=tuple(stages.done),
        reason=reason,
        details=error.details if error is not None else (),
        next_step=error.next_step if error is not None else "",
        exit_code=error.exit_code if error is not None else by_outcome,
        warnings=tuple(stages.warnings),
        kind=record.kind,
        live=_with_the_traffic(environment),
        back_to=_rollback_version(environment),
        method=_method(environment, record),
    )


def _method(environment: Environment, record: ReleaseRecord) -> str:
    """How a rollback got its version to users, as its journal has it; empty for a release."""
    steps = environment.ledger.steps(record.id) if record.kind == "rollback" else ()
    found = [f"{step.action['method']}: {step.action['why']}" for step in steps if _has_method(step)]
    return found[-1] if found else ""


def _has_method(step: Step) -> bool:
    return step.name == "target" and {"method", "why"} <= step.action.keys()


def _with_the_traffic(environment: Environment) -> str:
    """What users get now, by the edge: the ledger may know of something that was taken down."""
    try:
        servers = environment.edge.servers() if environment.edge.running() else ()
    except DeploykitError:
        return ""
    releases = sorted({state.server.release for state in servers if state.weight > 0})
    records = [record for name in releases if (record := environment.ledger.release(name)) is not None]
    return ", ".join(f"{record.version} ({record.id})" for record in records)


def _rollback_version(environment: Environment) -> str:
    """The version that `invoke rollback` would go to; empty: there is none."""
    try:
        return rollback_target(environment.ledger, environment.name, "", environment.paths.values).version
    except DeploykitError:
        return ""
