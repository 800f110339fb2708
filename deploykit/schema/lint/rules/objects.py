"""Rules about dependent and other objects: dropped constraints, types, functions, sequences, views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.schema.lint.rules.rule import Rule
from deploykit.schema.lint.values import Action, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploykit.schema.lint.rule_context import RuleContext

__all__ = ["RULES"]


def _dropped(*kinds: str) -> Callable[[Action, RuleContext], str]:
    def check(action: Action, context: RuleContext) -> str:
        if action.kind not in {"drop_object", "drop_view"} or action.also["what"] not in kinds:
            return ""
        if context.phase == "contract" or action.name in context.catalog.new_objects:
            return ""
        return f"the version that runs now may use {shown(action.on) or action.name}"

    return check


def _constraint(action: Action, context: RuleContext) -> str:
    if action.kind != "drop_constraint" or not context.is_old(action) or context.phase == "contract":
        return ""
    if (action.on, action.name) in context.catalog.new_constraints:
        return ""
    table = context.catalog.table(action.on)
    rule = table.constraints.get(action.name)
    # A CHECK that only proved what NOT NULL says by now guarantees nothing more.
    if (
        rule is not None
        and rule.not_null
        and all(getattr(table.columns.get(name), "not_null", False) for name in rule.not_null)
    ):
        return ""
    return (
        f"what {action.name} kept out of {shown(action.on)} can be written from now on, and it can't be put "
        "back over that"
    )


def _schema(action: Action, context: RuleContext) -> str:
    old = action.kind == "set_schema" and context.is_old(action)
    return f"the version that runs now looks for {shown(action.on)} where it was" if old else ""


def _expression(action: Action, context: RuleContext) -> str:
    old = action.kind == "drop_expression" and context.is_old(action)
    return (
        f"{shown(action.on)}.{action.column} is no longer computed, and the version that runs now does not write it"
        if old
        else ""
    )


def _identity(action: Action, context: RuleContext) -> str:
    old = action.kind == "alter_identity" and context.is_old(action)
    return (
        f"inserts of the version that runs now count on how {shown(action.on)}.{action.column} is numbered"
        if old
        else ""
    )


def _renamed(action: Action, context: RuleContext) -> str:
    old = action.kind == "rename_object" and context.is_old(action)
    return f"the version that runs now knows {action.name} by its old name" if old else ""


_LATER = "# stop using it in this release; in a later one:\n# deploykit: phase contract\n"

RULES = (
    Rule(
        id="ban-drop-constraint",
        why="a guarantee that the version that runs now may rely on is gone, and rows that break it keep it "
        "from coming back",
        lock="AccessExclusiveLock",
        how_long="short; for a foreign key on both tables",
        rewrite=_LATER + 'op.drop_constraint("$name", "$table")',
        check=_constraint,
    ),
    Rule(
        id="ban-drop-view",
        why="the version that runs now may read it",
        lock="AccessExclusiveLock",
        how_long="short",
        rewrite=_LATER + 'op.execute("DROP VIEW $table")',
        check=_dropped("OBJECT_VIEW", "OBJECT_MATVIEW"),
    ),
    Rule(
        id="ban-drop-type",
        why="columns, casts and queries of the version that runs now may name it",
        rewrite=_LATER + 'op.execute("DROP TYPE $name")',
        check=_dropped("OBJECT_TYPE"),
    ),
    Rule(
        id="ban-drop-domain",
        why="columns, casts and queries of the version that runs now may name it",
        rewrite=_LATER + 'op.execute("DROP DOMAIN $name")',
        check=_dropped("OBJECT_DOMAIN"),
    ),
    Rule(
        id="ban-drop-function",
        why="queries and triggers of the version that runs now may call it",
        rewrite=_LATER + 'op.execute("DROP FUNCTION $name")',
        check=_dropped("OBJECT_FUNCTION", "OBJECT_PROCEDURE", "OBJECT_AGGREGATE", "OBJECT_ROUTINE"),
    ),
    Rule(
        id="ban-drop-sequence",
        why="inserts of the version that runs now may draw numbers from it",
        rewrite=_LATER + 'op.execute("DROP SEQUENCE $name")',
        check=_dropped("OBJECT_SEQUENCE"),
    ),
    Rule(
        id="ban-drop-extension",
        why="its functions, types and operators go with it",
        rewrite=_LATER + 'op.execute("DROP EXTENSION $name")',
        check=_dropped("OBJECT_EXTENSION"),
    ),
    Rule(
        id="ban-set-schema",
        why="the version that runs now looks for it in the old schema",
        lock="AccessExclusiveLock",
        how_long="short",
        rewrite='op.execute("CREATE VIEW the_new_schema.$table AS SELECT * FROM $table")\n'
        "# move all reads and writes to it; move the table in a later release, with a view in its old place",
        check=_schema,
    ),
    Rule(
        id="ban-drop-generated-expression",
        why="the version that runs now never writes a generated column, so it stays empty in new rows",
        lock="AccessExclusiveLock",
        how_long="short",
        rewrite='op.add_column("$table", sa.Column("${column}_new", …, nullable=True))  # write it, fill it, read it',
        check=_expression,
    ),
    Rule(
        id="ban-alter-identity",
        why="inserts of the version that runs now may fail or get numbers that were used",
        lock="AccessExclusiveLock",
        how_long="short",
        rewrite=_LATER + 'op.execute("ALTER TABLE $table ALTER $column …")',
        check=_identity,
    ),
    Rule(
        id="renaming-object",
        why="the version that runs now may name it, such as in ON CONFLICT ON CONSTRAINT or in a cast",
        rewrite="# make a new one, and drop the old one in a later release",
        check=_renamed,
    ),
)
