"""`invoke release`: put the present tree into an environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.model import ReleaseOutcome
from deploykit.release.environment.tree_data import tell_what_came_since
from deploykit.release.housekeeping.claims import claim
from deploykit.release.housekeeping.foreign import reject_foreign_instances
from deploykit.release.version.instances import RunnableVersion
from deploykit.release.workflow.attempt import Attempt, begin, recorded
from deploykit.release.workflow.recovery import settle_unfinished
from deploykit.release.workflow.run import do_what_is_due, exclusive
from deploykit.release.workflow.stages import (
    build,
    check_preflight,
    migrate,
    plan,
    record_plan,
    roll_out,
    start_accessories,
)

if TYPE_CHECKING:
    from deploykit.release.environment import Environment
    from deploykit.release.reporting.reporter import ReleaseReport, Reporter
    from deploykit.release.version.sources import Sources

__all__ = ["deliver", "release"]


def release(
    environment: Environment, reporter: Reporter, *, discard_data: bool = False, ends_process: bool = False
) -> ReleaseReport:
    """Put the present tree into the environment. Any failure puts the traffic back.

    `discard_data`: files that the live version wrote into its tree may be lost. `ends_process`: nothing but the report
    comes after this. Raises DeploykitError for what stops it before it has begun.
    """
    with exclusive(environment, reporter, "release", ends_process=ends_process) as run:
        do_what_is_due(run)
        settle_unfinished(run)
        sources = plan(run)
        reject_foreign_instances(environment)
        check_preflight(run, sources, discard_data=discard_data)
        if not claim(environment):
            run.stages.warn(
                f"another repository with the app {environment.app} would not be noticed: this one has neither a remote"
                " nor a whole history (git remote add origin URL)"
            )
        environment.save_target()
        tree = sources.tree
        before = environment.ledger.live()
        record = begin(run, "release", version=sources.version, digest="", commit=tree.commit, tree=tree.tree)
        with recorded(run, record) as attempt:
            deliver(attempt, sources)
            if before is not None and attempt.record.outcome is ReleaseOutcome.DONE and not discard_data:
                tell_what_came_since(environment, before, attempt.record, sources.spec, run.stages.warn)
        return attempt.report


def deliver(attempt: Attempt, sources: Sources | None) -> None:
    """The stages that are in the journal. `sources` None: an earlier process has built them."""
    spec = record_plan(attempt, sources)
    artifact = build(attempt, sources)
    values = start_accessories(attempt)
    version = RunnableVersion(release=attempt.record.id, spec=spec, artifact=artifact, values=values)
    version = migrate(attempt, version)
    roll_out(attempt, version, judged=True)
