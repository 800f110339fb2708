"""Declared changes of the schema in an environment: what the database is told of the releases, and the commands `db.*`.

The work itself is done in the application's own environment (`schema.inside`), by a command of the version that has the driver and,
where they matter, the revisions.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from deploykit.credentials import Redactor
from deploykit.ledger.check import ADOPT
from deploykit.model import DeploykitError, ReleaseRecord, Secret, UsageError
from deploykit.release.build import build_artifact, load_artifact, read_sources
from deploykit.release.instances import RunnableArtifact, one_off
from deploykit.release.locking import environment_lock
from deploykit.release.targets_of_rollback import spec_of
from deploykit.release.values import database_values, read_values, secrets_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deploykit.release.spec import ReleaseSpec
    from deploykit.release.surroundings import Surroundings

__all__ = [
    "IN_CONTAINERS",
    "change",
    "change_options",
    "facts",
    "refuse_past_contract",
    "take_restore_point",
]

IN_CONTAINERS = "/run/deploykit-schema"
"""Where the kit's part is put into containers, which don't see this machine's disk."""
_SHORT = 600.0
_LOOKED_AT = 20


@dataclass(frozen=True, kw_only=True)
class _Version:
    """What the command is run by."""

    release: str
    spec: ReleaseSpec
    artifact: RunnableArtifact
    values: Mapping[str, str | Secret]


def facts(around: Surroundings, release: str = "", version: str = "") -> dict[str, Any]:
    """Which releases run or are kept warm, by the target and the record, and what is wanted before a contract."""
    ids = {instance.labels.release: instance.labels.version for instance in around.target.instances()}
    live = around.ledger.live()
    if live is not None:
        ids.setdefault(live.id, live.version)
    for timer in around.ledger.timers():
        if timer.kind == "warm" and (record := around.ledger.release(timer.release)) is not None:
            ids.setdefault(record.id, record.version)
    return {
        "app": around.app,
        "environment": around.name,
        "running": [{"id": key, "version": value} for key, value in sorted(ids.items()) if key != release],
        "release": {"id": release, "version": version} if release else None,
        "settings": _wanted(around),
    }


def _wanted(around: Surroundings) -> dict[str, str]:
    if around.loaded is None:
        return {}
    contract = around.loaded.settings.migrations.contract
    wanted = bool(contract.restore_point) or around.noted.target != "process"
    return {
        "soak": f"{contract.soak:g}",
        "restore_wanted": "yes" if wanted else "no",
        "restore_age": f"{contract.restore_age:g}",
        "restore_waived": contract.restore_waived,
    }


def change_options(around: Surroundings, **pace: Any) -> dict[str, Any]:
    """The options of every action: pace, limits; what the command says counts before the settings."""
    if around.loaded is None:
        return {"pace": pace}
    migrations = around.loaded.settings.migrations
    backfill = migrations.backfill
    return {
        "fill": backfill.when == "release",
        "limits": {"lock": migrations.lock_timeout, "total": migrations.lock_total},
        "pace": {
            "batch": backfill.batch,
            "speed": backfill.speed,
            "workers": backfill.workers,
            "waiting": backfill.waiting,
            "lag": backfill.lag,
            "active": backfill.active or None,
            "query": backfill.query,
            **{name: value for name, value in pace.items() if value},
        },
    }


def change(
    around: Surroundings,
    action: str,
    options: Mapping[str, Any],
    *,
    sources: bool,
    locked: bool,
    tell: Callable[[str], None],
) -> Mapping[str, Any]:
    """Do an action of `schema.runner.change_command` on the environment's database.

    `sources`: by the present tree, whose revisions matter; else by what is live. `locked`: nothing else may be released meanwhile.
    Raises DeploykitError with what was refused, or failed.
    """
    if not locked:
        return _run(around, action, options, _version(around, sources=sources), tell)

    def lost(error: DeploykitError) -> None:
        tell(f"the lock was lost: {error.message}")

    with environment_lock(around.ledger, around.target, f"db.{action}", tell=tell, lost=lost):
        return _run(around, action, options, _version(around, sources=sources), tell)


def _version(around: Surroundings, *, sources: bool) -> _Version:
    live = around.ledger.live()
    if live is not None and not sources:
        return _live(around, live)
    if around.loaded is None:
        raise UsageError(
            f"nothing is live in {around.name}, and there is no repository here",
            next_step="go to the repository of your service",
        )
    found = read_sources(around)
    built = build_artifact(around, found, [])
    return _Version(
        release=live.id if live is not None else "r0",
        spec=found.spec,
        artifact=load_artifact(around, str(built["digest"])),
        values={**found.values, **database_values(around, found.spec)},
    )


def _live(around: Surroundings, live: ReleaseRecord) -> _Version:
    spec = spec_of(around.ledger, live, around.name)
    values = {**read_values(around.values_folder, live.id), **database_values(around, spec)}
    return _Version(release=live.id, spec=spec, artifact=load_artifact(around, live.digest), values=values)


def _run(
    around: Surroundings, action: str, options: Mapping[str, Any], version: _Version, tell: Callable[[str], None]
) -> Mapping[str, Any]:
    from deploykit.schema.runner import INSIDE, change_command, parse_change

    spec, artifact = version.spec, version.artifact
    if not spec.database.migrations:
        raise UsageError(
            f"{around.app} has no migrations", next_step="say where they are: database.migrations in [tool.deploykit]"
        )
    redact = Redactor(secrets_in(version.values))
    inside = IN_CONTAINERS if artifact.image else str(INSIDE)
    argv = change_command(
        action,
        str(artifact.python),
        spec.database.migrations,
        str(artifact.tree),
        options={"facts": facts(around), **options},
        variable=spec.database.variable,
        inside=inside,
    )
    timeout = around.loaded.settings.migrations.backfill.timeout if around.loaded is not None else _SHORT
    files = {inside: INSIDE} if artifact.image else {}
    command = one_off(spec, version.release, artifact, version.values, argv, timeout=timeout, files=files)

    def hand_on(line: str) -> None:
        if line.strip() and not line.startswith("@deploykit "):
            tell(redact(line))

    result = around.target.run(command, on_line=hand_on)
    return parse_change([redact(line) for line in result.output])


def take_restore_point(around: Surroundings) -> dict[str, Any] | None:
    """What the settings' command names, as `at` and `what`; None when there is no such command. Raises DeploykitError when it fails."""
    command = around.loaded.settings.migrations.contract.restore_point if around.loaded is not None else ""
    if not command:
        return None
    from deploykit.process.run import run

    result = run(shlex.split(command), cwd=around.root, timeout=_SHORT)
    lines = [line for line in result.stdout.splitlines() if line.strip()]
    when, _, what = (lines[-1] if lines else "").strip().partition(" ")
    try:
        at = datetime.fromisoformat(when)
    except ValueError:
        raise DeploykitError(
            f"the command for the restore point printed no time: {lines[-1] if lines else 'nothing'}",
            details=[f"command: {command}"],
            next_step="let its last line begin with the time of the newest backup, such as 2026-11-25T10:00:00Z",
        ) from None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return {"at": at.isoformat(), "what": what or command}


def refuse_past_contract(around: Surroundings, wanted: ReleaseRecord, *, tell: Callable[[str], None]) -> None:
    """Raise DeploykitError when the version needs a shape of the schema that was dropped since.

    Asked only where it can be so by the record. Whether the database can be asked or not, an incident goes on: then it is said.
    """
    live = around.ledger.live()
    if live is None or not _can_be_past(around, wanted):
        return
    try:
        answer = _run(around, "status", {}, _live(around, live), lambda _line: None)
    except DeploykitError as error:
        tell(f"whether {wanted.version} survives what was contracted since could not be asked: {error.message}")
        return
    known: list[str] = next(
        (
            item["changes"]
            for item in answer["releases"]
            if item["id"] == wanted.id and item["environment"] == around.name
        ),
        [],
    )
    gone = [
        item
        for item in answer["changes"]
        if item["phase"] in {"contracting", "contracted"} and item["key"] not in known
    ]
    if gone:
        raise DeploykitError(
            f"{wanted.version} ({wanted.id}) can't come back: the old shape that it reads was dropped",
            details=[f"{item['key']}: contracted {item['times']['contracted_at'] or 'in part'}" for item in gone],
            next_step=f"roll back to a version that knows it, or make the old shape again: invoke db.undo --change {gone[0]['key']} --env {around.name}",
        )


def _can_be_past(around: Surroundings, wanted: ReleaseRecord) -> bool:
    """Whether a declared change may have been contracted since: a release has noted one, or the record does not say what
    releases did (it was made anew from what runs, or the version is older than those that are looked at).
    """
    if not spec_of(around.ledger, wanted, around.name).database.migrations:
        return False
    records = [record for record in around.ledger.releases(limit=_LOOKED_AT) if record.kind == "release"]
    if wanted.id not in {record.id for record in records}:
        return True
    return any(
        step.name == ADOPT or (step.name == "migrate" and step.result.get("changes"))
        for record in records
        for step in around.ledger.steps(record.id)
    )
