"""The versions that can be run in an environment: those that its ledger knows, and the present tree."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deploykit.model import UsageError
from deploykit.release.version.gather import gather_values
from deploykit.release.version.instances import RunnableVersion
from deploykit.release.version.recorded import spec_of
from deploykit.release.version.sources import read_sources
from deploykit.release.version.values import has_values, read_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deploykit.model import ReleaseRecord, Secret
    from deploykit.release.environment.environment import Environment
    from deploykit.release.version.sources import Sources
    from deploykit.release.version.spec import ReleaseSpec

__all__ = [
    "database_values",
    "live_record",
    "present_sources",
    "present_version",
    "recorded_version",
    "reject_without_values",
]


def live_record(environment: Environment) -> ReleaseRecord:
    """The release that is live. Raises UsageError when none is."""
    live = environment.ledger.live()
    if live is None:
        raise UsageError(f"nothing is live in {environment.name}", next_step=f"invoke release --env {environment.name}")
    return live


def recorded_version(
    environment: Environment, record: ReleaseRecord, *, warn: Callable[[str], None] = lambda _text: None
) -> RunnableVersion:
    """A version as it was released.

    Raises DeploykitError when its artefact is gone or the ledger does not know how it is run.
    """
    spec = spec_of(environment.ledger, record, environment.name)
    return RunnableVersion(
        release=record.id,
        spec=spec,
        artifact=environment.hosting.load(record.digest),
        values={
            **_kept_values(environment, record, spec, warn),
            **database_values(environment, spec),
        },
    )


def _kept_values(
    environment: Environment, record: ReleaseRecord, spec: ReleaseSpec, warn: Callable[[str], None]
) -> Mapping[str, str | Secret]:
    """What that version was started with; on another machine than it was released from, what it would get now."""
    if not environment.hosting.shared:
        reject_without_values(environment, record)
    kept = read_values(environment.paths.values, record.id)
    if kept or not environment.hosting.shared or environment.repository is None:
        return kept
    values, warnings = gather_values(environment.repository, spec, environment.paths.values, make=False)
    for warning in warnings:
        warn(warning)
    return values


def reject_without_values(environment: Environment, record: ReleaseRecord) -> None:
    """Raise UsageError where the version's variables are not kept any more: without them it would be another one."""
    if not has_values(environment.paths.values, record.id):
        raise UsageError(
            f"the variables of {record.id} ({record.version}) are not kept any more, so it can't be run as it was",
            next_step=f"check its commit {record.commit[:12]} out, then run: invoke release --env {environment.name}",
        )


def present_sources(environment: Environment, *, make: bool = True) -> Sources:
    """The present tree, as it would be released. Raises UsageError where it can't be."""
    repository = environment.require_repository()
    argv = environment.hosting.argv(repository.command)
    warnings: list[str] = []
    user = environment.hosting.app_user(repository.settings.service.user, warnings.append)
    sources = read_sources(repository, argv, environment.paths.values, user=user, make=make)
    return replace(sources, warnings=(*sources.warnings, *warnings))


def present_version(environment: Environment) -> RunnableVersion:
    """The present tree, built, for a command of its own that runs next to the live version (`db.*`)."""
    sources = present_sources(environment)
    built = environment.hosting.build(sources, [])
    live = environment.ledger.live()
    return RunnableVersion(
        release=live.id if live is not None else "r0",
        spec=sources.spec,
        artifact=environment.hosting.load(str(built["digest"])),
        values={**sources.values, **database_values(environment, sources.spec)},
    )


def database_values(
    environment: Environment, spec: ReleaseSpec, *, tell: Callable[[str], None] = lambda _text: None
) -> dict[str, str | Secret]:
    """The variable with the URL of the embedded database, which is started if needed.

    Empty where the app has another one. `tell` gets what was changed for it.
    """
    if spec.database.kind != "embedded":
        return {}
    database, name = environment.database, spec.app.replace("-", "_")
    database.ensure(tell)
    database.ensure_database(name)
    return {spec.database.variable: database.url(name, spec.database.driver)}
