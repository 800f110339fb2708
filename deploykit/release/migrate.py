"""The migrate stage: look at what is pending, refuse what the running version would not survive, then upgrade."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploykit.credentials import Redactor
from deploykit.model import DeploykitError, InconclusiveError, Secret, UsageError
from deploykit.release.instances import RunnableArtifact, one_off
from deploykit.release.values import secrets_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from deploykit.release.spec import ReleaseSpec
    from deploykit.release.surroundings import Surroundings
    from deploykit.schema.inspection import Inspection

__all__ = ["migrate"]

_INSPECT_SECONDS = 60.0
_MENDING = {"database": "see that the database is up and its URL right", "revisions": "mend the migration"}
"""What to do first, by the kind of an inspection's error."""


def migrate(  # noqa: PLR0913 - by keyword
    around: Surroundings,
    spec: ReleaseSpec,
    release: str,
    artifact: RunnableArtifact,
    values: Mapping[str, str | Secret],
    *,
    tell: Callable[[str], None],
    released: bool = True,
) -> dict[str, Any]:
    """Bring the database to the new version's heads, in that version's own environment; what was done, for the journal.

    `released` False: the version is not going to run (`db.expand`).
    Raises DeploykitError with the cause when the database can't be reached, a migration fails, or, where the settings want
    it, a branch has several heads or the running version would not survive what is pending. Then nothing was migrated.
    """
    if not spec.database.migrations:
        return {"note": "no migrations"}
    from deploykit.release.changing import IN_CONTAINERS, change_options, facts
    from deploykit.schema.runner import INSIDE, inspect_command, parse, parse_upgrade, upgrade_command

    redact = Redactor(secrets_in(values))
    # A container does not see this machine's disk: the kit's part is put into it.
    inside = IN_CONTAINERS if artifact.image else str(INSIDE)
    files = {inside: INSIDE} if artifact.image else {}

    def hand_on(line: str) -> None:
        if line.strip() and not line.startswith(("@deploykit ", "ran ")):
            tell(redact(line))

    def run(argv: Sequence[str], timeout: float, *, aloud: bool = False) -> Sequence[str]:
        command = one_off(spec, release, artifact, values, argv, timeout=timeout, files=files)
        result = around.target.run(command, on_line=hand_on if aloud else None)
        return [redact(line) for line in result.output]

    place = (str(artifact.python), spec.database.migrations, str(artifact.tree))
    inspection = parse(run(inspect_command(*place, variable=spec.database.variable, inside=inside), _INSPECT_SECONDS))
    _refuse(around, inspection)
    if not inspection.pending and not inspection.changes:
        return {"note": "nothing pending", "applied": [], "heads": [head.revision for head in inspection.heads]}
    revisions = [item.revision for item in inspection.pending or ()]
    if revisions:
        tell(
            f"pending migrations: {', '.join(revisions)}"
            if len(revisions) > 1
            else f"pending migration: {revisions[0]}"
        )
    declares = inspection.changes or any(
        item.kind == "expand" for each in inspection.pending or () for item in each.operations
    )
    options = (
        {**change_options(around), "facts": facts(around, release, artifact.version) if released else facts(around)}
        if declares
        else None
    )
    command = upgrade_command(*place, variable=spec.database.variable, inside=inside, options=options)
    timeout = spec.database.timeout
    if declares and around.loaded is not None:
        timeout = max(timeout, around.loaded.settings.migrations.backfill.timeout)
    upgrade = parse_upgrade(run(command, timeout, aloud=declares))
    if upgrade.error:
        raise DeploykitError(
            redact(upgrade.error),
            details=[redact(line) for line in upgrade.details],
            next_step=f"{upgrade.next_step} --env {around.name}"
            if upgrade.next_step.startswith("invoke ")
            else "mend the migration and release again; the running version still has the traffic",
        )
    note = f"{len(upgrade.applied)} applied: {', '.join(upgrade.applied)}" if upgrade.applied else "nothing pending"
    return {
        "note": note + (f"; rows filled: {', '.join(upgrade.filled)}" if upgrade.filled else ""),
        "applied": list(upgrade.applied),
        "heads": [head.revision for head in inspection.heads],
        "changes": list(upgrade.changes),
    }


def _refuse(around: Surroundings, inspection: Inspection) -> None:
    """Raise for what must not be migrated; the cheapest question first."""
    wanted = around.environment.preflight if around.environment is not None else ()
    if inspection.error:
        raise DeploykitError(
            f"the migrations can't be applied: {inspection.error}",
            next_step=f"{_MENDING.get(inspection.error_kind, 'mend that')}, then: invoke release --env {around.name}",
        )
    if "migration-heads" in wanted and inspection.crowded:
        raise UsageError(
            "there is more than one migration head in a branch",
            details=[f"{label or 'no label'}: {', '.join(heads)}" for label, heads in inspection.crowded.items()],
            next_step="alembic merge heads -m 'Merge heads', commit, and release again",
        )
    if inspection.missing:
        raise DeploykitError(
            f"the database is ahead of this tree: it has the revision {', '.join(inspection.missing)}, which is not here",
            next_step=f"release a tree that has it, or go back without migrating: invoke rollback --env {around.name}",
        )
    if "migration-safety" not in wanted or around.ledger.live() is None:
        return
    from deploykit.schema.safety import unknown_lines, unsafe_operations

    if unsafe := unsafe_operations(inspection):
        raise DeploykitError(
            f"{len(unsafe)} pending operations would break the version that runs now; nothing was migrated",
            details=[f"{item.revision} {item.operation}: {item.why}; {item.rewrite}" for item in unsafe],
            next_step="rewrite the migration in steps that both versions survive",
        )
    if inspection.unknown:
        raise InconclusiveError(
            "nobody can say whether the running version survives the pending migrations; nothing was migrated",
            details=unknown_lines(inspection.unknown),
            next_step="split what needs the database's answer into a revision of its own, and run it by hand first",
        )
