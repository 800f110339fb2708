"""The migrate stage: look at what is pending, refuse what the running version would not survive, then upgrade."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploykit.model import DeploykitError, InconclusiveError, UsageError
from deploykit.release.database.facts import change_options, facts

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploykit.release.environment import Environment
    from deploykit.release.version.instances import RunnableVersion
    from deploykit.schema.inspection import Inspection

__all__ = ["migrate"]

_FIRST_STEPS = {"database": "see that the database is up and its URL right", "revisions": "correct the migration"}
"""What to do first, by the kind of an inspection's error."""


def migrate(
    environment: Environment, version: RunnableVersion, *, tell: Callable[[str], None], released: bool = True
) -> dict[str, Any]:
    """Bring the database to the version's heads, in that version's own environment; what was done, for the journal.

    `released` False: the version is not going to run (`db.expand`). `tell` gets progress, line by line.
    Raises DeploykitError with the cause when the database can't be reached, a migration fails, or, where the settings
    want it, a branch has several heads or the running version would not survive what is pending. Then nothing was
    migrated.
    """
    database = version.spec.database
    if not database.migrations:
        loaded = environment.repository.loaded if environment.repository is not None else None
        said = loaded is not None and loaded.is_set("database.migrations")
        return {"note": 'none are run: migrations = ""' if said else "no migrations"}
    from deploykit.release.database.commands import SchemaCommands

    commands = SchemaCommands(target=environment.target, version=version, parts=environment.paths.parts)
    inspection = commands.inspect()
    _refuse(environment, inspection)
    heads = [head.revision for head in inspection.heads]
    if not inspection.pending and not inspection.changes:
        return {"note": "nothing pending", "applied": [], "heads": heads}
    if revisions := [item.revision for item in inspection.pending or ()]:
        tell(f"pending migration{'s' if len(revisions) > 1 else ''}: {', '.join(revisions)}")
    options, timeout = None, database.timeout
    if inspection.changes or _expands(inspection):
        about = facts(environment, version.release, version.artifact.version) if released else facts(environment)
        options = {**change_options(environment), "facts": about}
        if environment.repository is not None:
            timeout = max(timeout, environment.repository.settings.migrations.backfill.timeout)
    upgrade = commands.upgrade(options, timeout=timeout, on_line=tell if options is not None else None)
    if upgrade.error:
        raise DeploykitError(
            commands.redact(upgrade.error),
            details=[commands.redact(line) for line in upgrade.details],
            next_step=(
                f"{upgrade.next_step} --env {environment.name}"
                if upgrade.next_step.startswith("invoke ")
                else "correct the migration and release again; the running version still has the traffic"
            ),
        )
    note = f"{len(upgrade.applied)} applied: {', '.join(upgrade.applied)}" if upgrade.applied else "nothing pending"
    return {
        "note": note + (f"; rows filled: {', '.join(upgrade.filled)}" if upgrade.filled else ""),
        "applied": list(upgrade.applied),
        "heads": heads,
        "changes": list(upgrade.changes),
    }


def _expands(inspection: Inspection) -> bool:
    """Whether a pending revision declares a change."""
    return any(item.kind == "expand" for each in inspection.pending or () for item in each.operations)


def _refuse(environment: Environment, inspection: Inspection) -> None:
    """Raise for what must not be migrated, the cheapest check first."""
    wanted = environment.repository.environment.preflight if environment.repository is not None else ()
    if inspection.error:
        raise DeploykitError(
            f"the migrations can't be applied: {inspection.error}",
            next_step=(
                f"{_FIRST_STEPS.get(inspection.error_kind, 'correct that')}, then: invoke release --env"
                f" {environment.name}"
            ),
        )
    if "migration-heads" in wanted and inspection.crowded:
        raise UsageError(
            "there is more than one migration head in a branch",
            details=[f"{label or 'no label'}: {', '.join(heads)}" for label, heads in inspection.crowded.items()],
            next_step="alembic merge heads -m 'Merge heads', commit, and release again",
        )
    if inspection.missing:
        raise DeploykitError(
            f"the database is ahead of this tree: it has the revision {', '.join(inspection.missing)}, which is not"
            " here",
            next_step=(
                f"release a tree that has it, or go back without migrating: invoke rollback --env {environment.name}"
            ),
        )
    if "migration-safety" not in wanted or environment.ledger.live() is None:
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
            "it is not known whether the running version survives the pending migrations; nothing was migrated",
            details=unknown_lines(inspection.unknown),
            next_step="split what needs the database's answer into a revision of its own, and run it by hand first",
        )
