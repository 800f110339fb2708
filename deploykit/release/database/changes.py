"""`invoke db.*`: actions on the declared schema changes of an environment, and what a rollback has to know of them.

The work itself is done with the application's own driver and revisions, by `schema.in_app`.
"""

from __future__ import annotations

import contextlib
import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from deploykit.ledger.check import ADOPT
from deploykit.model import DeploykitError, ReleaseRecord, UsageError
from deploykit.release.database.commands import SchemaCommands
from deploykit.release.database.facts import facts
from deploykit.release.environment.trust import verified_lock, verify_ledger
from deploykit.release.environment.versions import present_version, recorded_version
from deploykit.release.version.recorded import spec_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deploykit.release.environment import Environment
    from deploykit.release.version.instances import RunnableVersion

__all__ = ["change", "refuse_past_contract", "take_restore_point"]

_SECONDS = 600.0
_LOOKED_AT = 20


def change(
    environment: Environment,
    action: str,
    options: Mapping[str, Any],
    *,
    sources: bool,
    locked: bool,
    tell: Callable[[str], None],
) -> Mapping[str, Any]:
    """Do an action of `schema.runner.change_command` on the environment's database.

    `sources`: by the present tree, whose revisions matter; else by what is live. `locked`: nothing else may be
    released meanwhile.
    Raises DeploykitError with what was refused, or failed.
    """
    with contextlib.ExitStack() as stack:
        if locked:
            stack.enter_context(verified_lock(environment, f"db.{action}", warn=tell))
        else:
            verify_ledger(environment)
        live = environment.ledger.live()
        if live is not None and not sources:
            return _run(environment, action, options, recorded_version(environment, live), tell)
        if environment.repository is None:
            raise UsageError(
                f"nothing is live in {environment.name}, and there is no repository here",
                next_step="go to the repository of your service",
            )
        return _run(environment, action, options, present_version(environment), tell)


def _run(
    environment: Environment,
    action: str,
    options: Mapping[str, Any],
    version: RunnableVersion,
    tell: Callable[[str], None],
) -> Mapping[str, Any]:
    if not version.spec.database.migrations:
        raise UsageError(
            f"{environment.app} has no migrations",
            next_step="say where they are: database.migrations in [tool.deploykit]",
        )
    repository = environment.repository
    return SchemaCommands(target=environment.target, version=version, parts=environment.paths.parts).change(
        action,
        {"facts": facts(environment), **options},
        timeout=repository.settings.migrations.backfill.timeout if repository is not None else _SECONDS,
        on_line=tell,
    )


def take_restore_point(environment: Environment) -> dict[str, Any] | None:
    """What the settings' command names, as `at` and `what`; None when there is no such command.

    Raises DeploykitError when it fails.
    """
    repository = environment.repository
    command = repository.settings.migrations.contract.restore_point if repository is not None else ""
    if not command:
        return None
    from deploykit.process.run import run

    result = run(shlex.split(command), cwd=environment.root, timeout=_SECONDS)
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


def refuse_past_contract(environment: Environment, wanted: ReleaseRecord, *, warn: Callable[[str], None]) -> None:
    """Raise DeploykitError when the version needs a shape of the schema that was dropped since.

    The database is asked only where the ledger does not rule it out. Where it can't be asked, the rollback continues
    with a warning.
    """
    live = environment.ledger.live()
    if live is None or not _can_be_past(environment, wanted):
        return
    try:
        answer = _run(environment, "status", {}, recorded_version(environment, live), lambda _line: None)
    except DeploykitError as error:
        warn(f"whether {wanted.version} survives what was contracted since could not be asked: {error.message}")
        return
    known: list[str] = next(
        (
            item["changes"]
            for item in answer["releases"]
            if item["id"] == wanted.id and item["environment"] == environment.name
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
            next_step=(
                "roll back to a version that knows it, or make the old shape again: invoke db.undo --change"
                f" {gone[0]['key']} --env {environment.name}"
            ),
        )


def _can_be_past(environment: Environment, wanted: ReleaseRecord) -> bool:
    """Whether a declared change may have been contracted since: a release has noted one, or the ledger does not have
    what releases did: it was restored from what runs, or the version is older than those that are looked at.
    """
    if not spec_of(environment.ledger, wanted, environment.name).database.migrations:
        return False
    records = [record for record in environment.ledger.releases(limit=_LOOKED_AT) if record.kind == "release"]
    if wanted.id not in {record.id for record in records}:
        return True
    return any(
        step.name == ADOPT or (step.name == "migrate" and step.result.get("changes"))
        for record in records
        for step in environment.ledger.steps(record.id)
    )
