"""Rules about transactions: what is held together, how long a lock is waited for, and in what order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.schema.lint.rules.rule import Rule
from deploykit.schema.lint.values import Action, shown

if TYPE_CHECKING:
    from deploykit.schema.lint.rule_context import RuleContext

__all__ = ["RULES"]


def _timeout(setting: str, action: Action, context: RuleContext) -> str:
    waits = [table for table, mode in context.strong(action)]
    # Once for each transaction: the setting belongs at its beginning.
    if not waits or context.waited or setting in context.settings | context.local_settings:
        return ""
    return f"{shown(waits[0])} is locked without a {setting}: who waits for the lock keeps everybody behind it waiting"


def _lock_timeout(action: Action, context: RuleContext) -> str:
    return _timeout("lock_timeout", action, context)


def _statement_timeout(action: Action, context: RuleContext) -> str:
    return _timeout("statement_timeout", action, context)


def _many(action: Action, context: RuleContext) -> str:
    if not context.in_transaction or not context.held:
        return ""
    more = [table for table, _ in context.strong(action) if table not in context.held]
    # A foreign key needs both its tables at once, so only another one besides them is one too many.
    if not more or action.kind == "insert":
        return ""
    return (
        f"{shown(more[0])} is locked while this transaction holds {', '.join(shown(table) for table in context.held)}"
    )


def _nesting(action: Action, context: RuleContext) -> str:
    if action.kind in {"begin", "commit", "rollback"} and context.transactional:
        return f"{action.kind.upper()} in a revision ends or doubles the transaction that Alembic holds around it"
    if action.kind == "begin" and context.in_transaction:
        return "BEGIN in a transaction does nothing"
    if action.kind in {"commit", "rollback"} and not context.in_transaction:
        return f"{action.kind.upper()} without a BEGIN does nothing"
    return ""


def _robust(action: Action, context: RuleContext) -> str:
    guards = {
        "create_table",
        "create_index",
        "add_column",
        "drop_table",
        "drop_index",
        "drop_column",
        "drop_constraint",
    }
    if action.kind in guards and not action.guarded and not context.in_transaction:
        return "a failure half way leaves what was done, and the next try fails on it"
    return ""


def _schema(action: Action, _situation: RuleContext) -> str:
    named = action.kind in {"create_table", "drop_table", "add_column"} and action.on[1] and not action.on[0]
    return f"{action.on[1]} is found by search_path" if named else ""


RULES = (
    Rule(
        id="require-lock-timeout",
        why="a statement that waits for a lock blocks all later ones; the kit's own upgrade sets a lock_timeout",
        rewrite="op.execute(\"SET LOCAL lock_timeout = '2s'\")",
        check=_lock_timeout,
        on=False,
    ),
    Rule(
        id="require-statement-timeout",
        why="a statement that was thought to be short may take hours",
        rewrite="op.execute(\"SET LOCAL statement_timeout = '30s'\")",
        check=_statement_timeout,
        on=False,
    ),
    Rule(
        id="many-tables-locked",
        why="a session that holds one lock while it waits for the next blocks both tables, and may deadlock "
        "with the application",
        lock="AccessExclusiveLock",
        how_long="until the transaction ends",
        rewrite="# one revision, and so one transaction, for each table",
        check=_many,
    ),
    Rule(
        id="lock-order",
        why="two transactions that take the same locks in opposite order deadlock when they run at the same time",
        lock="AccessExclusiveLock",
        how_long="until one is cancelled, after deadlock_timeout",
        rewrite="# the same order of tables in every revision, or one revision for each table",
    ),
    Rule(
        id="transaction-nesting",
        why="Alembic holds a transaction around each revision; COMMIT in it leaves a half-applied revision "
        "without its stamp",
        rewrite="with op.get_context().autocommit_block():\n    …",
        check=_nesting,
    ),
    Rule(
        id="ban-uncommitted-transaction",
        why="what follows BEGIN is lost without a COMMIT",
        rewrite="COMMIT;",
    ),
    Rule(
        id="prefer-robust-stmts",
        why="outside a transaction a failed revision is run again from its beginning",
        rewrite='op.create_index("$name", "$table", ["$column"], if_not_exists=True, postgresql_concurrently=True)',
        check=_robust,
        on=False,
    ),
    Rule(
        id="require-table-schema",
        why="which table is meant depends on the search_path of the session that migrates",
        rewrite='op.create_table("$table", …, schema="app")',
        check=_schema,
        on=False,
    ),
)
