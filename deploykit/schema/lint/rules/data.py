"""Rules about rows: changed in batches, and not in the transaction that holds a lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.schema.lint.rules.rule import Rule
from deploykit.schema.lint.values import Action, shown

if TYPE_CHECKING:
    from deploykit.schema.lint.rule_context import RuleContext

__all__ = ["RULES"]

_BATCH = (
    "# outside the migration, or in a revision of its own, batch by batch, each committed:\n"
    'op.execute("UPDATE $table SET … WHERE id IN (SELECT id FROM $table WHERE … ORDER BY id LIMIT 1000)")'
)


def _changes(action: Action, context: RuleContext) -> bool:
    if action.kind not in {"update", "delete"} or not context.is_old(action):
        return False
    return not context.catalog.table(action.on).is_unique(action.also["equal"])


def _unbatched(action: Action, context: RuleContext) -> str:
    if _changes(action, context) and not action.also["bounded"]:
        verb = "changes" if action.kind == "update" else "deletes"
        return f"one statement {verb} rows of {shown(action.on)} without a limit, and holds their locks until the end"
    return ""


def _with_schema(action: Action, context: RuleContext) -> str:
    if _changes(action, context) and context.in_transaction and context.changed_schema:
        held = ", ".join(shown(table) for table in sorted(context.changed_schema))
        return f"rows of {shown(action.on)} are changed while this transaction still holds the full lock on {held}"
    return ""


def _twice(action: Action, _situation: RuleContext) -> str:
    names = action.also.get("twice", ())
    return f"{', '.join(names)} is set twice in one statement, which PostgreSQL refuses" if names else ""


def _opaque(action: Action, _situation: RuleContext) -> str:
    return f"what {action.name} does can't be read here" if action.kind == "opaque" else ""


RULES = (
    Rule(
        id="unbatched-data-change",
        why="one UPDATE or DELETE over a table locks its rows for as long as it takes, bloats it, and lets "
        "replicas lag",
        lock="RowExclusiveLock",
        how_long="the row locks are held until the transaction ends",
        rewrite=_BATCH,
        check=_unbatched,
    ),
    Rule(
        id="backfill-with-schema-change",
        why="the lock of ALTER TABLE is held until the transaction ends, and so for as long as the rows take",
        lock="AccessExclusiveLock",
        how_long="as long as the change of the rows takes",
        rewrite="# the change of schema in one revision, the rows in the next\n" + _BATCH,
        check=_with_schema,
    ),
    Rule(
        id="ban-duplicate-column-assignments",
        why="PostgreSQL refuses it",
        rewrite='op.execute("UPDATE $table SET $column = … WHERE …")',
        check=_twice,
    ),
    Rule(
        id="opaque-block",
        why="code in the database may do anything, which can't be seen here",
        rewrite="# write it as operations of Alembic or as plain statements, or acknowledge it after reading it:\n"
        "# deploykit: allow opaque-block because …",
        check=_opaque,
    ),
)
