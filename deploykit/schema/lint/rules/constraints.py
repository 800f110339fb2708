"""Rules about constraints: NOT VALID first, for new rows, then validated under a lock that admits writers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.schema.lint.rules.rule import Rule
from deploykit.schema.lint.values import Action, Constraint, shown

if TYPE_CHECKING:
    from deploykit.schema.lint.rule_context import RuleContext

__all__ = ["RULES"]


def _added(action: Action, context: RuleContext, kind: str) -> Constraint | None:
    """Return the constraint of that kind that the action adds to a table in use, with a check of all its rows."""
    if action.kind == "add_constraint" and action.constraint is not None and context.is_old(action):
        rule = action.constraint
        return rule if rule.kind == kind and rule.valid and not rule.index else None
    return None


def _of_column(action: Action, context: RuleContext, *kinds: str) -> bool:
    if action.kind != "add_column" or not context.is_old(action):
        return False
    return any(rule.kind in kinds for rule in action.definition.constraints)


def _check(action: Action, context: RuleContext) -> str:
    rule = _added(action, context, "check") or _added(action, context, "not-null")
    if rule is not None:
        return (
            f"every row of {shown(action.on)} is checked for {rule.name or 'the constraint'} while no session can "
            "use the table"
        )
    if _of_column(action, context, "check"):
        return (
            f"the CHECK of the new column {action.column} makes PostgreSQL read all of {shown(action.on)} under a "
            "full lock"
        )
    return ""


def _foreign(action: Action, context: RuleContext) -> str:
    rule = _added(action, context, "foreign")
    if rule is not None and rule.target:
        return (
            f"every row of {shown(action.on)} is looked up in {shown(rule.target)} while no session can write to either"
        )
    if _of_column(action, context, "foreign"):
        return (
            f"the new column {action.column} of {shown(action.on)} brings its foreign key with it, which locks "
            "both tables"
        )
    return ""


def _unique(action: Action, context: RuleContext) -> str:
    rule = _added(action, context, "unique") or _added(action, context, "primary")
    if rule is not None or _of_column(action, context, "unique", "primary"):
        return f"the index of this constraint is built while no session can use {shown(action.on)}"
    return ""


def _exclusion(action: Action, context: RuleContext) -> str:
    if _added(action, context, "exclusion") is not None:
        return (
            f"an exclusion constraint can't be added to {shown(action.on)} without a full lock for as long as its "
            "index takes"
        )
    return ""


def _not_null(action: Action, context: RuleContext) -> str:
    if action.kind != "set_not_null" or not context.is_old(action):
        return ""
    if context.version >= 12 and context.catalog.never_null(action.on, action.column):
        return ""
    return (
        f"every row of {shown(action.on)} is read while no session can use the table, since no valid CHECK "
        f"says that {action.column} is set"
    )


def _at_once(action: Action, context: RuleContext) -> str:
    if action.kind == "validate_constraint" and (action.on, action.name) in context.made_invalid:
        return (
            f"{action.name} is validated in the transaction that added it, which still holds the lock of ADD CONSTRAINT"
        )
    return ""


def _domain(action: Action, _situation: RuleContext) -> str:
    return (
        "the constraint of a domain can't be added or changed NOT VALID everywhere"
        if action.also.get("checked")
        else ""
    )


def _create_domain(action: Action, context: RuleContext) -> str:
    return _domain(action, context) if action.kind == "create_domain" else ""


def _alter_domain(action: Action, _situation: RuleContext) -> str:
    if action.kind == "alter_domain_add":
        return f"every table with a column of {action.name} is locked and read"
    return ""


RULES = (
    Rule(
        id="constraint-missing-not-valid",
        why="adding a CHECK reads the whole table before any session can use it again",
        lock="AccessExclusiveLock",
        how_long="one scan of the table",
        rewrite='op.create_check_constraint("$name", "$table", "…", postgresql_not_valid=True)\n'
        '# in the next revision, a transaction of its own:\nop.execute("ALTER TABLE $table VALIDATE CONSTRAINT $name")',
        check=_check,
    ),
    Rule(
        id="adding-foreign-key-constraint",
        why="adding a foreign key looks up every row while both tables can't be written to",
        lock="ShareRowExclusiveLock",
        how_long="one scan of the table, on both tables",
        rewrite='op.create_foreign_key("$name", "$table", "other", ["$column"], ["id"], postgresql_not_valid=True)\n'
        '# in the next revision, a transaction of its own:\nop.execute("ALTER TABLE $table VALIDATE CONSTRAINT $name")',
        check=_foreign,
    ),
    Rule(
        id="disallowed-unique-constraint",
        why="a UNIQUE or PRIMARY KEY constraint builds its index under a full lock",
        lock="AccessExclusiveLock",
        how_long="while the index is built",
        rewrite="with op.get_context().autocommit_block():\n"
        '    op.create_index("$name", "$table", ["$column"], unique=True, postgresql_concurrently=True)\n'
        'op.execute("ALTER TABLE $table ADD CONSTRAINT $name UNIQUE USING INDEX $name")',
        check=_unique,
    ),
    Rule(
        id="exclusion-constraint",
        why="PostgreSQL knows neither NOT VALID nor USING INDEX for exclusion constraints",
        lock="AccessExclusiveLock",
        how_long="while the index is built",
        rewrite="# make a new table that has the constraint, write to both, copy, and move the reads:\n"
        'op.create_table("${table}_new", …, ExcludeConstraint(…))',
        check=_exclusion,
    ),
    Rule(
        id="adding-not-nullable-field",
        why="SET NOT NULL reads the whole table, unless a valid CHECK (column IS NOT NULL) proves it",
        lock="AccessExclusiveLock",
        how_long="one scan of the table; nothing with the proof (PostgreSQL 12 and newer)",
        rewrite='op.execute("ALTER TABLE $table ADD CONSTRAINT ${column}_set CHECK ($column IS NOT NULL) NOT VALID")\n'
        '# next revision: op.execute("ALTER TABLE $table VALIDATE CONSTRAINT ${column}_set")\n'
        '# next revision: op.alter_column("$table", "$column", nullable=False); '
        'op.drop_constraint("${column}_set", "$table")',
        check=_not_null,
    ),
    Rule(
        id="constraint-validated-at-once",
        why="VALIDATE is only gentle in a transaction that does not hold the lock of ADD CONSTRAINT",
        lock="AccessExclusiveLock",
        how_long="one scan of the table",
        rewrite='# in a revision of its own:\nop.execute("ALTER TABLE $table VALIDATE CONSTRAINT $name")',
        check=_at_once,
    ),
    Rule(
        id="ban-create-domain-with-constraint",
        why="the constraint of a domain can later be changed only with a full look at every table that uses it",
        rewrite='# the plain type, and a CHECK on each table:\nop.create_check_constraint("…", "$table", "…", '
        "postgresql_not_valid=True)",
        check=_create_domain,
    ),
    Rule(
        id="ban-alter-domain-with-add-constraint",
        why="adding a constraint to a domain reads every table that has a column of it, under locks",
        lock="ShareLock",
        how_long="one scan of each such table",
        rewrite='op.execute("ALTER DOMAIN $name ADD CONSTRAINT … CHECK (…) NOT VALID")  # new values only',
        check=_alter_domain,
    ),
)
