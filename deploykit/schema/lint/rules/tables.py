"""Rules about whole tables, schemas, databases and enums."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.schema.lint.rules.rule import Rule
from deploykit.schema.lint.values import Action, shown

if TYPE_CHECKING:
    from deploykit.schema.lint.rule_context import RuleContext

__all__ = ["RULES"]


def _drop_table(action: Action, context: RuleContext) -> str:
    old = action.kind == "drop_table" and context.is_old(action) and context.phase != "contract"
    return f"the version that runs now may use {shown(action.on)}" if old else ""


def _rename_table(action: Action, context: RuleContext) -> str:
    old = action.kind == "rename_table" and context.is_old(action)
    return f"the version that runs now knows {shown(action.on)} by its old name" if old else ""


def _rename_schema(action: Action, _situation: RuleContext) -> str:
    return f"everything that names {action.on[1]} fails at once" if action.kind == "rename_schema" else ""


def _drop_schema(action: Action, _situation: RuleContext) -> str:
    return f"the schema {action.name} goes with all that is in it" if action.kind == "drop_schema" else ""


def _drop_database(action: Action, _situation: RuleContext) -> str:
    return f"the database {action.name} goes with all that is in it" if action.kind == "drop_database" else ""


def _cascade(action: Action, context: RuleContext) -> str:
    if action.kind == "truncate" and action.also["cascade"] and context.is_old(action):
        return f"TRUNCATE … CASCADE also empties every table that references {shown(action.on)}"
    return ""


def _truncate(action: Action, context: RuleContext) -> str:
    old = action.kind == "truncate" and not action.also["cascade"] and context.is_old(action)
    return f"every row of {shown(action.on)} goes, and no rollback brings them back" if old else ""


def _repack(action: Action, context: RuleContext) -> str:
    if action.kind in {"vacuum_full", "cluster"} and context.is_old(action):
        return f"{shown(action.on) or 'every table'} is rewritten while no session can use it"
    return ""


def _rewrite(action: Action, context: RuleContext) -> str:
    old = action.kind == "rewrite" and context.is_old(action)
    return f"{action.name} rewrites {shown(action.on)} while no session can use it" if old else ""


def _attach(action: Action, context: RuleContext) -> str:
    if action.kind != "attach_partition" or context.catalog.is_new(action.also["child"]):
        return ""
    checks = [rule for rule in context.catalog.table(action.also["child"]).constraints.values() if rule.kind == "check"]
    if any(rule.valid for rule in checks):
        return ""
    return f"every row of {action.name} is read to see that it belongs there, while no session can use it"


def _refresh(action: Action, context: RuleContext) -> str:
    old = action.kind == "refresh_view" and not action.concurrent and context.is_old(action)
    return f"{shown(action.on)} can't be read while it is refilled" if old else ""


def _enum_in_transaction(action: Action, context: RuleContext) -> str:
    if not context.in_transaction:
        return ""
    if action.kind == "add_enum_value" and context.version < 12:
        return f"PostgreSQL {context.version} can't add a value to {action.name} in a transaction"
    used = [value for value in context.new_enum_values if f"'{value}'" in context.sql]
    if used and action.kind != "add_enum_value":
        return f"the value {used[0]!r} is used in the transaction that adds it, which PostgreSQL refuses"
    return ""


def _enum_order(action: Action, _situation: RuleContext) -> str:
    if action.kind == "add_enum_value" and not action.also["ordered"]:
        return f"the value {action.also['value']!r} goes to the end of {action.name}, whether it sorts there or not"
    return ""


def _enum_rename(action: Action, _situation: RuleContext) -> str:
    if action.kind == "rename_enum_value":
        return f"the version that runs now knows the value {action.also['value']!r} of {action.name}"
    return ""


RULES = (
    Rule(
        id="ban-drop-table",
        why="the version that runs now still uses it, and a rollback finds its data gone",
        lock="AccessExclusiveLock",
        how_long="short",
        rewrite="# stop using it in this release; in a later one, when no version that uses it can come back:\n"
        '# deploykit: phase contract\nop.drop_table("$table")',
        check=_drop_table,
    ),
    Rule(
        id="renaming-table",
        why="the version that runs now fails at once: it knows the old name",
        lock="AccessExclusiveLock",
        how_long="short",
        rewrite='op.execute("CREATE VIEW the_new_name AS SELECT * FROM $table")\n'
        "# move all reads and writes to it; rename in a later release, with a view under the old name",
        check=_rename_table,
    ),
    Rule(
        id="renaming-schema",
        why="everything that names it fails at once",
        rewrite='op.execute("CREATE SCHEMA the_new_name")  # new tables there, write to both, copy, move the reads',
        check=_rename_schema,
    ),
    Rule(
        id="ban-drop-schema",
        why="all that is in it goes with it",
        rewrite="# drop what is in it, table by table, in contract revisions; then the empty schema",
        check=_drop_schema,
    ),
    Rule(
        id="ban-drop-database",
        why="no revision should be able to do that",
        rewrite="# by hand, by two people, after a backup that was restored once",
        check=_drop_database,
    ),
    Rule(
        id="ban-truncate-cascade",
        why="it empties tables that it does not name",
        lock="AccessExclusiveLock",
        how_long="short",
        rewrite='op.execute("TRUNCATE $table, each, that, is, meant")',
        check=_cascade,
    ),
    Rule(
        id="truncate",
        why="the version that runs now finds the table empty, and no rollback brings the rows back",
        lock="AccessExclusiveLock",
        how_long="short",
        rewrite="# delete in batches, in a later release, when no running version reads these rows",
        check=_truncate,
    ),
    Rule(
        id="prefer-repack",
        why="VACUUM FULL and CLUSTER rewrite the table",
        lock="AccessExclusiveLock",
        how_long="as long as writing the whole table takes",
        rewrite="# outside migrations: pg_repack --table $table",
        check=_repack,
    ),
    Rule(
        id="table-rewrite",
        why="another tablespace, access method or persistence rewrites the table",
        lock="AccessExclusiveLock",
        how_long="as long as writing the whole table takes",
        rewrite="# a new table, write to both, copy in batches, move the reads",
        check=_rewrite,
    ),
    Rule(
        id="attach-partition-scan",
        why="ATTACH PARTITION reads the whole table, unless a valid CHECK on it says what the bounds say; a "
        "default partition too",
        lock="AccessExclusiveLock",
        how_long="one scan of the table that is attached",
        rewrite='op.create_check_constraint("${name}_bounds", "$name", "…", postgresql_not_valid=True)\n'
        '# next revision: op.execute("ALTER TABLE $name VALIDATE CONSTRAINT ${name}_bounds")\n'
        '# next revision: op.execute("ALTER TABLE $table ATTACH PARTITION $name FOR VALUES …")',
        check=_attach,
    ),
    Rule(
        id="refresh-not-concurrent",
        why="an ordinary REFRESH MATERIALIZED VIEW stops everybody who reads the view",
        lock="AccessExclusiveLock",
        how_long="as long as its query takes",
        rewrite='op.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY $table")  # needs a unique index on the view',
        check=_refresh,
    ),
    Rule(
        id="enum-value-in-transaction",
        why="before PostgreSQL 12 ADD VALUE can't run in a transaction, and since then the value can't be used in it",
        rewrite='with op.get_context().autocommit_block():\n    op.execute("ALTER TYPE $name ADD VALUE IF NOT '
        "EXISTS '…'\")",
        check=_enum_in_transaction,
    ),
    Rule(
        id="require-enum-value-ordering",
        why="the order of an enum can't be changed afterwards",
        rewrite="op.execute(\"ALTER TYPE $name ADD VALUE '…' AFTER '…'\")",
        check=_enum_order,
    ),
    Rule(
        id="renaming-enum-value",
        why="the version that runs now reads and writes the old value",
        rewrite="op.execute(\"ALTER TYPE $name ADD VALUE 'the_new' AFTER 'the_old'\")  # then fill rows in batches",
        check=_enum_rename,
    ),
)
