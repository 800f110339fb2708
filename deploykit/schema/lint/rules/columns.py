"""Rules about columns: what rewrites the table, and what the running version does not survive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.schema.lint.rules.rule import Rule
from deploykit.schema.lint.values import Action, shown
from deploykit.schema.safety import is_widening

if TYPE_CHECKING:
    from deploykit.schema.lint.rule_context import RuleContext

__all__ = ["RULES"]

_REWRITE = "the table and its indexes are rewritten"


def _adds(action: Action, context: RuleContext) -> bool:
    return action.kind == "add_column" and context.is_old(action)


def _volatile(action: Action, context: RuleContext) -> str:
    if not _adds(action, context):
        return ""
    column = action.definition
    if column.default == "volatile" or (column.default == "constant" and context.version < 11):
        return f"the default of {column.name} is computed for each row, so {shown(action.on)} is rewritten"
    return ""


def _stored(action: Action, context: RuleContext) -> str:
    if _adds(action, context) and action.definition.stored:
        return f"{action.column} is computed for each row, so {shown(action.on)} is rewritten"
    return ""


def _serial(action: Action, context: RuleContext) -> str:
    if _adds(action, context) and (action.definition.serial or action.definition.identity):
        return f"{action.column} gets a number for each row, so {shown(action.on)} is rewritten"
    return ""


def _type(action: Action, context: RuleContext) -> str:
    if action.kind != "alter_type" or not context.is_old(action):
        return ""
    known = context.catalog.table(action.on).columns.get(action.column)
    # What the revisions made is sure; what a revision only says of itself is better than nothing.
    old = known.type_text if known is not None and known.type else context.existing.get(action.column, "")
    new = action.definition.type_text
    if not action.also["using"] and old and is_widening(old, new):
        return ""
    return f"{shown(action.on)}.{action.column} changes from {old or 'its type'} to {new}"


def _required(action: Action, context: RuleContext) -> str:
    if not _adds(action, context):
        return ""
    column = action.definition
    if column.not_null and not (column.default or column.serial or column.identity):
        return (
            f"{column.name} is NOT NULL without a default: existing rows violate it, and so do the old "
            "version's inserts"
        )
    return ""


def _expand(action: Action, context: RuleContext) -> str:
    if context.phase != "expand" or not context.is_old(action):
        return ""
    columns: tuple[str, ...] = ()
    if action.kind == "set_not_null":
        columns = (action.column,)
    elif action.kind == "add_constraint" and action.constraint is not None:
        rule = action.constraint
        columns = rule.columns if rule.kind == "not-null" else rule.not_null
    table = context.catalog.table(action.on)
    bare = [name for name in columns if not getattr(table.columns.get(name), "default", "")]
    proven = [name for name in bare if context.catalog.never_null(action.on, name)]
    if set(bare) > set(proven):
        return (
            f"inserts of the version that runs now may leave {', '.join(bare)} of {shown(action.on)} empty, and "
            "would fail"
        )
    return ""


def _drop(action: Action, context: RuleContext) -> str:
    gone = context.catalog.is_new_column(action.on, action.column) or not context.is_old(action)
    if action.kind == "drop_column" and not gone and context.phase != "contract":
        return f"the version that runs now may read or write {shown(action.on)}.{action.column}"
    return ""


def _drop_not_null(action: Action, context: RuleContext) -> str:
    new = context.catalog.is_new_column(action.on, action.column)
    if action.kind == "drop_not_null" and context.is_old(action) and not new:
        return f"the version that runs now may not expect {shown(action.on)}.{action.column} to be NULL"
    return ""


def _drop_default(action: Action, context: RuleContext) -> str:
    if action.kind != "drop_default" or not context.is_old(action) or context.phase == "contract":
        return ""
    known = context.catalog.table(action.on).columns.get(action.column)
    if known is not None and not known.not_null:
        return ""
    return f"the version that runs now inserts into {shown(action.on)} without {action.column}"


def _rename(action: Action, context: RuleContext) -> str:
    new = context.catalog.is_new_column(action.on, action.column)
    if action.kind == "rename_column" and context.is_old(action) and not new:
        return f"the version that runs now knows {shown(action.on)}.{action.column} by its old name"
    return ""


_NEW_COLUMN = (
    'op.add_column("$table", sa.Column("{new}", …, nullable=True))\n'
    "# deploy a version that writes both; copy the old rows in batches; read the new one; then, in a later release:\n"
    'op.drop_column("$table", "$column")'
)

RULES = (
    Rule(
        id="adding-field-with-default",
        why="a default that differs from row to row (random(), gen_random_uuid()) has to be computed for each",
        lock="AccessExclusiveLock",
        how_long=_REWRITE,
        rewrite='op.add_column("$table", sa.Column("$column", …, nullable=True))\n'
        'op.alter_column("$table", "$column", server_default=sa.text("…"))\n# then fill the old rows in batches',
        check=_volatile,
    ),
    Rule(
        id="stored-generated-column",
        why="a stored generated column is computed for each row",
        lock="AccessExclusiveLock",
        how_long=_REWRITE,
        rewrite='op.add_column("$table", sa.Column("$column", …, nullable=True))\n'
        "# a trigger that fills it for new rows, a backfill in batches for the old ones",
        check=_stored,
    ),
    Rule(
        id="adding-serial-primary-key-field",
        why="a serial or identity column is numbered row by row",
        lock="AccessExclusiveLock",
        how_long=_REWRITE,
        rewrite='op.add_column("$table", sa.Column("$column", sa.BigInteger, nullable=True))\n'
        "# a sequence as its default, a backfill in batches, a unique index CONCURRENTLY, then the key USING INDEX",
        check=_serial,
    ),
    Rule(
        id="changing-column-type",
        why="a change of type rewrites the table, unless it only widens (varchar, numeric), and the old "
        "version writes the old type",
        lock="AccessExclusiveLock",
        how_long=_REWRITE,
        rewrite=_NEW_COLUMN.replace("{new}", "${column}_new"),
        check=_type,
    ),
    Rule(
        id="adding-required-field",
        why="a NOT NULL column without a default fails on a table with rows, and breaks the inserts of the "
        "version that runs",
        lock="AccessExclusiveLock",
        how_long="it fails, or one scan of the table",
        rewrite='op.add_column("$table", sa.Column("$column", …, nullable=False, server_default="…"))  # or '
        "nullable=True",
        check=_required,
    ),
    Rule(
        id="not-null-in-expand",
        why="while both versions run, the old one still inserts rows without the column (squawk#937)",
        rewrite="# give it a server default now, or move this to the contract phase, in a later release, and say so:\n"
        "# deploykit: phase contract",
        check=_expand,
    ),
    Rule(
        id="ban-drop-column",
        why="the version that runs now still uses the column, and a rollback finds its data gone",
        lock="AccessExclusiveLock",
        how_long="short; the queue behind it can be long",
        rewrite="# stop using it in this release; in a later one, when no version that uses it can come back:\n"
        '# deploykit: phase contract\nop.drop_column("$table", "$column")',
        check=_drop,
    ),
    Rule(
        id="ban-drop-not-null",
        why="code that was written for NOT NULL meets a NULL",
        rewrite='# first a version that expects NULL, then:\nop.alter_column("$table", "$column", nullable=True)',
        check=_drop_not_null,
    ),
    Rule(
        id="ban-drop-default",
        why="the version that runs now relies on the default for a column that may not be NULL",
        rewrite="# in a later release, when every version writes the column:\n"
        '# deploykit: phase contract\nop.alter_column("$table", "$column", server_default=None)',
        check=_drop_default,
    ),
    Rule(
        id="renaming-column",
        why="the version that runs now fails at once: it knows the old name",
        lock="AccessExclusiveLock",
        how_long="short",
        rewrite=_NEW_COLUMN.replace("{new}", "the_new_name"),
        check=_rename,
    ),
)
