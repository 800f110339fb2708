"""The versions that can be run in an environment: those that its ledger knows, and the present tree."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from deploykit.model import DeploykitError, UsageError
from deploykit.release.version.gather import gather_values
from deploykit.release.version.instances import RunnableVersion
from deploykit.release.version.recorded import spec_of
from deploykit.release.version.released import read_released
from deploykit.release.version.sources import read_sources
from deploykit.release.version.spec import ReleaseSpec
from deploykit.release.version.values import has_values, read_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deploykit.model import ReleaseRecord, Secret
    from deploykit.release.environment.environment import Environment
    from deploykit.release.version.sources import Sources

__all__ = [
    "confirmed_spec",
    "database_values",
    "live_record",
    "present_sources",
    "present_spec",
    "present_version",
    "recorded_version",
    "reject_without_values",
]


_RUN_BY = ("argv", "processes", "variables", "database", "persistent")
"""The parts of a spec that decide what runs, and what it gets."""
_HEXADECIMAL = re.compile(r"[0-9a-f]{7,64}")


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

    Raises DeploykitError when its artefact is gone, or as `confirmed_spec` does.
    """
    spec = confirmed_spec(environment, record)
    return RunnableVersion(
        release=record.id,
        spec=spec,
        artifact=environment.hosting.load(record.digest),
        values={
            **_kept_values(environment, record, warn),
            **database_values(environment, spec),
        },
    )


def confirmed_spec(environment: Environment, record: ReleaseRecord) -> ReleaseSpec:
    """How that release is run, where not the ledger alone says so: this machine has released it, or the settings here
    run it in the same way.

    Raises DeploykitError where neither is so, and as `spec_of` does.
    """
    recorded = spec_of(environment.ledger, record, environment.name)
    if (made_here := read_released(environment.paths.released, record.id)) is not None:
        if made_here.spec == recorded and record.digest in {"", made_here.digest}:
            return recorded
        what = "how it is run" if made_here.spec != recorded else "its artefact"
        raise DeploykitError(
            f"{record.id} is not what this machine has released by that name: the ledger has {what} otherwise",
            next_step=f"invoke history --env {environment.name} --check",
        )
    if environment.repository is None:
        raise UsageError(
            f"how {record.id} ({record.version}) is run is known from the ledger alone, and there are no settings here",
            next_step=f"go to the repository of your service; {_at_its_commit(record)}",
        )
    present = present_spec(environment)
    if differing := [name for name in _RUN_BY if getattr(present, name) != getattr(recorded, name)]:
        raise UsageError(
            f"{record.id} ({record.version}) was released elsewhere, and the settings here run it otherwise",
            details=[f"the ledger has other {', '.join(differing)}, and its word alone is not followed"],
            next_step=_at_its_commit(record),
        )
    return present


def present_spec(environment: Environment) -> ReleaseSpec:
    """How the present tree is run by its settings. Raises UsageError where there are none."""
    repository = environment.require_repository()
    argv = environment.hosting.argv(repository.command)
    user = environment.hosting.app_user(repository.settings.service.user, lambda _warning: None)
    return ReleaseSpec.from_settings(repository.settings, environment.name, argv, user=user)


def _at_its_commit(record: ReleaseRecord) -> str:
    """Where the settings confirm it. The ledger may have anything in place of a commit."""
    if _HEXADECIMAL.fullmatch(record.commit):
        return f"git switch --detach {record.commit[:12]}, then type the same again"
    return "type the same on the machine that released it"


def _kept_values(
    environment: Environment, record: ReleaseRecord, warn: Callable[[str], None]
) -> Mapping[str, str | Secret]:
    """What that version was started with; on another machine than it was released from, what it would get now."""
    if not environment.hosting.shared:
        reject_without_values(environment, record)
    kept = read_values(environment.paths.values, record.id)
    if kept or not environment.hosting.shared or environment.repository is None:
        return kept
    # Which variables it gets is what the settings here say: a name in the ledger would fetch any of this shell's.
    present = present_spec(environment)
    values, warnings = gather_values(environment.repository, present, environment.paths.values, make=False)
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
