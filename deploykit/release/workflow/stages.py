"""The stages of a release before its rollout, and the rollout. What the journal already has is not done again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from deploykit.model import DeploykitError, UsageError
from deploykit.release.database.migrate import migrate as migrate_database
from deploykit.release.environment.versions import confirmed_spec, database_values, present_sources, recorded_version
from deploykit.release.execution.runner import RolloutRunner
from deploykit.release.housekeeping.reap import prune
from deploykit.release.version.gather import accessories_of
from deploykit.release.version.released import Released, keep_released, read_released
from deploykit.release.version.values import read_values, store_values
from deploykit.release.workflow.preflight import preflight

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deploykit.model import Secret
    from deploykit.release.environment import Environment
    from deploykit.release.execution.journal import ReleaseJournal
    from deploykit.release.version.instances import RunnableArtifact, RunnableVersion
    from deploykit.release.version.sources import Sources
    from deploykit.release.version.spec import ReleaseSpec
    from deploykit.release.workflow.attempt import Attempt
    from deploykit.release.workflow.run import Run

__all__ = [
    "build",
    "check_preflight",
    "migrate",
    "plan",
    "record_plan",
    "reject_built_elsewhere",
    "roll_out",
    "runner_of",
    "start_accessories",
]


def plan(run: Run) -> Sources:
    """Read what is about to be released. Nothing is changed, except that missing `generate` values are made."""
    with run.stages.stage("plan") as note:
        sources = present_sources(run.environment)
        live = run.environment.ledger.live()
        note.append(f"{sources.version} over {live.version if live is not None else 'nothing'}")
        for warning in sources.warnings:
            run.stages.warn(warning)
        if not sources.spec.smoke:
            run.stages.warn(f"no smoke checks are set (service.smoke), so {sources.spec.health} is all that is tried")
    return sources


def check_preflight(run: Run, sources: Sources, *, discard_data: bool) -> None:
    """Check what the environment requires of a release. Raises one error with every problem."""
    with run.stages.stage("preflight") as note:
        note.append(preflight(run.environment, sources, discard_data=discard_data))


def record_plan(attempt: Attempt, sources: Sources | None) -> ReleaseSpec:
    """Keep how the version is run, and its values, so that it can be started without its sources."""
    environment, record = attempt.environment, attempt.record
    if sources is None:
        return confirmed_spec(environment, record)
    store_values(environment.paths.values, record.id, sources.values)
    keep_released(environment.paths.released, record.id, Released(spec=sources.spec))
    attempt.journal.once("plan", sources.spec.as_json(), dict)
    return sources.spec


def build(attempt: Attempt, sources: Sources | None) -> RunnableArtifact:
    """Build the artefact, or find it built. `sources` None: the journal has it."""
    environment = attempt.environment
    with attempt.stages.stage("build") as note:

        def build_now() -> Mapping[str, Any]:
            if sources is None:
                raise AssertionError("a release that was not built yet has its sources")
            built = environment.hosting.build(sources, note)
            made = Released(spec=sources.spec, digest=str(built["digest"]))
            keep_released(environment.paths.released, attempt.record.id, made)
            return built

        built = attempt.journal.once("build", {"tree": attempt.record.tree}, build_now)
        reject_built_elsewhere(environment, attempt.record.id, str(built["digest"]))
        environment.hosting.keep(str(built["digest"]))
        artifact = environment.hosting.load(str(built["digest"]))
        note.append(str(built.get("note", "")))
    attempt.record = environment.ledger.amend(attempt.record.id, version=artifact.version, digest=artifact.digest)
    return artifact


def reject_built_elsewhere(environment: Environment, release: str, digest: str) -> None:
    """Raise UsageError where only the ledger says what was built: it could name any artefact that is there."""
    made_here = read_released(environment.paths.released, release)
    if made_here is None or made_here.digest != digest:
        raise UsageError(
            f"what was built for {release} was not built on this machine, so it is not finished from here",
            next_step=f"resume it where it was begun, or undo it: invoke rollback --env {environment.name}",
        )


def start_accessories(attempt: Attempt) -> Mapping[str, str | Secret]:
    """Start the app's accessories, which outlive the release.

    Returns the version's values, which have their secrets.
    """
    environment = attempt.environment
    values = read_values(environment.paths.values, attempt.record.id)
    names = sorted(accessories_of(environment.repository)) if environment.repository is not None else []
    if not names:
        return values
    with attempt.stages.stage("accessories") as note:

        def start_now() -> Mapping[str, Any]:
            return {"ready": list(environment.hosting.ensure_accessories(values, attempt.stages.warn))}

        ready = attempt.journal.once("accessories", {"names": names}, start_now)["ready"]
        note.append(f"{', '.join(ready)} ready")
    return values


def migrate(attempt: Attempt, version: RunnableVersion) -> RunnableVersion:
    """Migrate the database. Returns the version with the variable of an embedded database, which runs now."""
    environment = attempt.environment
    with attempt.stages.stage("migrate") as note:
        database = database_values(environment, version.spec, tell=attempt.stages.warn)
        version = replace(version, values={**version.values, **database})
        done = attempt.journal.once(
            "migrate", {}, lambda: migrate_database(environment, version, tell=attempt.stages.note)
        )
        note.append(str(done.get("note", "")))
    return version


def roll_out(attempt: Attempt, version: RunnableVersion, *, judged: bool) -> None:
    """Start the version, switch to it, verify it and record it; or undo all that. `judged`: it is not trusted yet."""
    state, attempt.failure = runner_of(attempt.run, attempt.journal, version).run(judged=judged)
    attempt.end_with(state)
    if judged:  # a rollback is in a hurry
        for problem in prune(attempt.environment).problems:
            attempt.stages.warn(problem)


def runner_of(run: Run, journal: ReleaseJournal, version: RunnableVersion) -> RolloutRunner:
    """What rolls the version out, by that journal."""
    environment = run.environment

    def earlier(release: str) -> RunnableVersion:
        record = environment.ledger.release(release)
        if record is None:
            raise DeploykitError(
                f"the ledger has no release {release!r}", next_step=f"invoke history --env {environment.name}"
            )
        return recorded_version(environment, record, warn=run.stages.warn)

    return RolloutRunner(
        target=environment.target,
        edge=environment.edge,
        journal=journal,
        version=version,
        earlier=earlier,
        folder=environment.root,
        variable=environment.variable,
        stages=run.stages,
        cancellation=environment.cancellation,
    )
