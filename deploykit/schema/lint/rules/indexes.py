"""Rules about indexes: built and dropped concurrently, or blocking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.schema.lint.rules.rule import Rule
from deploykit.schema.lint.values import Action, shown

if TYPE_CHECKING:
    from deploykit.schema.lint.rule_context import RuleContext

__all__ = ["RULES"]


def _index(action: Action, context: RuleContext) -> str:
    if action.kind == "create_index" and not action.concurrent and context.is_old(action):
        return f"the index {action.name} is built while nobody can write to {shown(action.on)}"
    return ""


def _drop(action: Action, context: RuleContext) -> str:
    if action.kind != "drop_index" or action.concurrent:
        return ""
    table = context.catalog.table_of_index(action.name)
    if table is not None and context.catalog.is_new(table):
        return ""
    return f"dropping the index {action.name} locks {shown(table) if table else 'its table'} against everybody"


def _reindex(action: Action, context: RuleContext) -> str:
    # Before PostgreSQL 12 there is no other way.
    old = action.kind == "reindex" and not action.concurrent and context.is_old(action) and context.version >= 12
    return f"{shown(action.on) or action.name} can't be written to while it is reindexed" if old else ""


def _detach(action: Action, context: RuleContext) -> str:
    # Before PostgreSQL 14 there is no other way.
    plain = action.kind == "detach_partition" and not action.concurrent
    old = plain and context.is_old(action) and context.version >= 14
    return f"detaching {action.name} locks all of {shown(action.on)}" if old else ""


def _in_transaction(action: Action, context: RuleContext) -> str:
    if action.concurrent and context.in_transaction and action.kind != "refresh_view":
        return "CONCURRENTLY can't run in a transaction, and this revision is in one: the upgrade would fail here"
    return ""


def _wide(action: Action, _situation: RuleContext) -> str:
    if action.kind == "create_index" and not action.also["unique"] and len(action.also["columns"]) > 3:
        return f"the index {action.name} has {len(action.also['columns'])} columns and is not unique"
    return ""


_BLOCK = "with op.get_context().autocommit_block():\n    "

RULES = (
    Rule(
        id="require-concurrent-index-creation",
        why="an ordinary CREATE INDEX stops every write to the table until it is built",
        lock="ShareLock",
        how_long="while the table is read and sorted: minutes for millions of rows",
        rewrite=f'{_BLOCK}op.create_index("$name", "$table", ["$column"], postgresql_concurrently=True, '
        "if_not_exists=True)",
        check=_index,
    ),
    Rule(
        id="require-concurrent-index-deletion",
        why="an ordinary DROP INDEX waits for every query on the table, and everybody else waits behind it",
        lock="AccessExclusiveLock",
        how_long="short, once it has the lock; the queue behind it is the harm",
        rewrite=f'{_BLOCK}op.drop_index("$name", postgresql_concurrently=True, if_exists=True)',
        check=_drop,
    ),
    Rule(
        id="require-concurrent-reindex",
        why="an ordinary REINDEX stops every write, and the reads that would use the index",
        lock="ShareLock",
        how_long="while the indexes are rebuilt",
        rewrite=f'{_BLOCK}op.execute("REINDEX TABLE CONCURRENTLY $table")',
        check=_reindex,
    ),
    Rule(
        id="require-concurrent-partition-detach",
        why="an ordinary DETACH PARTITION locks the whole partitioned table",
        lock="AccessExclusiveLock",
        how_long="short, once it has the lock; the queue behind it is the harm",
        rewrite=f'{_BLOCK}op.execute("ALTER TABLE $table DETACH PARTITION $name CONCURRENTLY")',
        check=_detach,
    ),
    Rule(
        id="ban-concurrent-index-creation-in-transaction",
        why="PostgreSQL refuses CONCURRENTLY in a transaction, and Alembic runs each revision in one",
        rewrite=f'{_BLOCK}op.create_index("$name", "$table", ["$column"], postgresql_concurrently=True, '
        "if_not_exists=True)",
        check=_in_transaction,
    ),
    Rule(
        id="wide-index",
        why="an index of more than three columns costs every write and rarely serves a query that fewer would not",
        rewrite='op.create_index("$name", "$table", ["the", "selective", "ones"], postgresql_concurrently=True)',
        check=_wide,
    ),
    Rule(
        id="missing-foreign-key-index",
        why="without an index on the referencing columns each delete or key change of a referenced row reads "
        "the whole table",
        lock="RowShareLock",
        how_long="a sequential scan for each such row",
        rewrite=f'{_BLOCK}op.create_index("ix_${{table}}_$column", "$table", ["$column"], '
        "postgresql_concurrently=True)",
    ),
)
