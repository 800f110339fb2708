"""The answers of `db.status` and `db.plan`: declared changes, their progress, and their statements."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from .alembic_environment import configuration, version_table
from .changes.model import PROGRAMS, Backfill, Block, Change, Comparison, Refused, Step, Steps
from .changes.planning import plan
from .inspection import pending_revisions, read_current
from .live.facts import releases
from .live.gate import reasons
from .live.open_changes import open_meetings, reject_meeting
from .live.state import State
from .recording import record

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from alembic.script import ScriptDirectory
    from sqlalchemy.engine import URL

    from .action_context import ActionContext
    from .changes.schema_reader import SchemaReader
    from .live.session import Session
    from .live.state import Known

__all__ = ["declared", "pending_changes", "plan_all", "planned", "recorded_changes", "status"]


def status(context: ActionContext) -> dict[str, Any]:
    def read(session: Session) -> dict[str, Any]:
        state = State(session)
        if not state.exists:
            return {"changes": [], "releases": [], "declared": declared(context, set())}
        context.note_facts(session)
        known = state.all()
        found = [
            {
                "key": item.key,
                "kind": item.change.kind,
                "table": item.change.table,
                "phase": item.phase,
                "revision": item.revision,
                "times": {name: str(value) if value else None for name, value in item.times.items()},
                "against": reasons(session, state, item) if item.phase not in {"contracted", "undone"} else [],
                "lost": item.steps.lost,
                "steps": [
                    {
                        "program": row[0],
                        "number": row[1],
                        "title": _title(item.steps, row[0], row[1]),
                        "status": row[2],
                        "rows": row[3],
                        "total": row[4],
                        "held_ms": row[5],
                        "tries": row[6],
                        "note": row[7],
                        "seconds": row[8],
                    }
                    for row in state.steps_of(item.key)
                ],
            }
            for item in known
        ]
        return {
            "changes": found,
            "releases": releases(session),
            "settings": state.settings(),
            "declared": declared(context, {item.key for item in known if item.phase != "undone"}),
        }

    answer: dict[str, Any] = context.on_database(read)
    return answer


def _title(steps: Steps, program: str, number: int) -> str:
    items = steps.program("fill" if program == "verify" else program)
    return items[number].title if number < len(items) else ""


def recorded_changes(script: ScriptDirectory, url: URL, current: list[str] | None = None) -> list[tuple[str, Change]]:
    """Return (revision, change) of every expand in the revisions; with `current` only of those still to be applied."""
    steps = pending_revisions(script, current) if current is not None else list(reversed(list(script.walk_revisions())))
    return [
        (step.revision, Change(**operation["change"]))
        for step in steps
        for operation in record(step.module, url)["operations"]
        if operation["kind"] == "expand"
    ]


def declared(context: ActionContext, known: set[str]) -> list[dict[str, Any]]:
    return [
        {"key": change.key, "kind": change.kind, "table": change.table, "revision": revision}
        for revision, change in recorded_changes(context.script, context.url)
        if change.key not in known
    ]


def plan_all(context: ActionContext) -> dict[str, Any]:
    """Return the plan of every change that is not done on this database, statement by statement."""
    from .changes.schema_reader import SchemaReader

    declared = pending_changes(context)

    def read(session: Session) -> dict[str, Any]:
        state, asked = State(session), set(context.options.get("keys") or ())
        plans = [
            _as_plan(item.change, item.steps, item.phase, item.revision)
            for item in state.all()
            if ((item.key in asked) if asked else item.phase not in {"contracted", "undone"})
        ]
        make = partial(_declared_plan, SchemaReader(session), state.all())
        return {"plans": [*plans, *planned(declared, plans, asked, make)]}

    answer: dict[str, Any] = context.on_database(read)
    return answer


def pending_changes(context: ActionContext) -> list[tuple[str, Change]]:
    """Return the declared changes of the revisions that this database still lacks."""
    current = read_current(context.url, *version_table(configuration(context.migrations), context.script.dir))
    known = context.revisions()
    return recorded_changes(context.script, context.url, [item for item in current if item in known])


def planned(
    declared: Iterable[tuple[str, Change]],
    plans: Iterable[Mapping[str, Any]],
    asked: Collection[str],
    make: Callable[[Change, str], dict[str, Any]],
) -> list[dict[str, Any]]:
    """Return the plans of declared changes that have none yet; with `asked`, of those only."""
    here = {item["key"] for item in plans}
    return [
        _planned(change, revision, make)
        for revision, change in declared
        if change.key not in here and (not asked or change.key in asked)
    ]


def _planned(change: Change, revision: str, make: Callable[[Change, str], dict[str, Any]]) -> dict[str, Any]:
    """Return the plan that `make` returns, or why it is refused: it may depend on an earlier pending revision."""
    try:
        return make(change, revision)
    except Refused as refused:
        return {
            "key": change.key,
            "kind": change.kind,
            "table": change.table,
            "phase": "declared",
            "revision": revision,
            "refused": str(refused),
            "next_step": refused.next_step,
        }


def _declared_plan(reader: SchemaReader, known: list[Known], change: Change, revision: str) -> dict[str, Any]:
    steps = plan(change, reader)
    reject_meeting(change.key, open_meetings(change.key, steps.uses, known))
    return _as_plan(change, steps, "declared", revision)


def _as_plan(change: Change, steps: Steps, phase: str, revision: str) -> dict[str, Any]:
    return {
        "key": change.key,
        "kind": change.kind,
        "table": change.table,
        "phase": phase,
        "revision": revision,
        "programs": {name: [_as_step(step) for step in steps.program(name)] for name in PROGRAMS},
        "lost": steps.lost,
        "notes": list(steps.notes),
    }


def _as_step(step: Step) -> dict[str, Any]:
    if isinstance(step, Block):
        return {"kind": "block", "title": step.title, "alone": step.alone, "sql": list(step.statements)}
    if isinstance(step, Backfill):
        if step.statement:
            sql = step.statement.replace("{batch}", "/* the batch's key range */")
        else:
            sets = ", ".join(f'"{name}" = {expression}' for name, expression in step.assignments)
            table = f'"{step.table.schema}"."{step.table.name}"'
            where = f"/* the batch's key range */ AND ({step.needing})"
            sql = f"UPDATE {table} source SET {sets} WHERE {where}"  # noqa: S608  # nosec B608 - shown, never run
        return {"kind": "backfill", "title": step.title, "alone": False, "sql": [sql]}
    assert isinstance(step, Comparison)  # noqa: S101  # nosec B101 - there are three
    table = f'"{step.table.schema}"."{step.table.name}"'
    shown = f"SELECT FROM {table} source WHERE ({step.agree}) IS NOT TRUE"  # nosec B608 - shown, never run
    return {"kind": "comparison", "title": step.title, "alone": False, "sql": [shown]}
