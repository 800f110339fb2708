"""Changes of tables: rename, drop, partitions, and custom SQL with a declared phase."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..blocks import DOLLAR, alter, grant, has_constraint, unless
from ..model import Block, Change, Refused, Steps, Table
from ..sql import literal, name_for, one_statement, quote, table_name
from .registry import declares, make, planner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..catalog import Relation
    from ..schema_reader import SchemaReader

_SECURITY_INVOKER = 150000
_RANGE = re.compile(r"\s*FOR\s+VALUES\s+FROM\s*\((.+)\)\s*TO\s*\((.+)\)\s*", re.IGNORECASE | re.DOTALL)


@declares
def expand_rename_table(table: str, to: str, *, schema: str | None = None, change: str = "") -> Change:
    """Rename a table; an updatable view keeps the old name until contract."""
    return make("rename_table", table, schema, change, to, to=to)


@planner("rename_table")
def _rename(change: Change, reader: SchemaReader) -> Steps:
    relation = reader.of(change)
    old, new = relation.table, reader.unused(change.options["to"], change, relation)
    if relation.publications:
        raise Refused(
            f"{old} is in the publication {relation.publications[0]}, and its subscribers look for it by that name",
            "keep the name, or take the table out of the publication first",
        )
    # Columns by name: a view with `*` would not say what it shows after a later change.
    columns = ", ".join(quote(name) for name in relation.columns)
    options = " WITH (security_invoker = true)" if reader.version >= _SECURITY_INVOKER else ""
    view = f"CREATE VIEW {table_name(old)}{options} AS SELECT {columns} FROM {table_name(new)}"
    grants = tuple(
        f"GRANT {privilege} ON {table_name(old)} TO {role}"
        for role, privilege in relation.grants
        if privilege in {"SELECT", "INSERT", "UPDATE", "DELETE"}
    )
    narrow = tuple(text for column in relation.columns.values() for text in grant(old, column.name, [column]))
    bridge = (view, f"ALTER VIEW {table_name(old)} OWNER TO {quote(relation.owner)}", *grants, *narrow)
    return Steps(
        expand=(
            Block(
                (alter(old, f"RENAME TO {quote(new.name)}"), *bridge),
                title=f"rename {old}, with a view by the old name",
            ),
        ),
        contract=(Block((f"DROP VIEW IF EXISTS {table_name(old)}",), title=f"drop the view {old}"),),
        undo=(
            Block(
                (f"DROP VIEW IF EXISTS {table_name(old)}", alter(new, f"RENAME TO {quote(old.name)}")),
                title="rename back",
            ),
        ),
        reopen=(Block(bridge, title=f"make the view {old} again"),),
        tables=(new,),
        notes=("TRUNCATE and COPY FROM do not work by the old name while it is a view",),
    )


@declares
def expand_drop_table(table: str, *, schema: str | None = None, change: str = "") -> Change:
    """Drop a table when no version reads it any more."""
    return make("drop_table", table, schema, change)


@planner("drop_table")
def _drop(change: Change, reader: SchemaReader) -> Steps:
    relation = reader.of(change)
    if relation.views:
        raise Refused(f"the view {next(iter(relation.views))} reads {relation.table}", "drop or replace the view first")
    others = [item for item in relation.incoming if item.table != relation.table]
    # The foreign keys go first, each in a short transaction: all at once would lock every table together.
    return Steps(
        contract=(
            *(
                Block((alter(item.table, f"DROP CONSTRAINT IF EXISTS {quote(item.name)}"),), title=f"drop {item.name}")
                for item in others
            ),
            Block((f"DROP TABLE IF EXISTS {table_name(relation.table)}",), title=f"drop {relation.table}"),
        ),
        lost=f"the table {relation.table}, with its {max(relation.rows, 0)} rows",
        tables=(relation.table,),
    )


@declares
def expand_attach_partition(
    table: str, partition: str, bound: str, *, schema: str | None = None, change: str = ""
) -> Change:
    """Attach a table as a partition: `bound` is such as `FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')`.

    A CHECK with the same condition is validated first, so that ATTACH reads no row.
    """
    return make("attach_partition", table, schema, change, partition, partition=partition, bound=bound)


@planner("attach_partition")
def _attach(change: Change, reader: SchemaReader) -> Steps:
    relation, option = reader.of(change), change.options
    part = reader.named(option["partition"], change.schema)
    if not relation.partitioned:
        raise Refused(f"{relation.table} is not partitioned", "only a partitioned table has partitions")
    name = name_for("dk", part.table.name, "bound")
    bound = option["bound"]
    attach = f"ALTER TABLE {table_name(relation.table)} ATTACH PARTITION {table_name(part.table)} {bound}"
    statements = (attach, alter(part.table, f"DROP CONSTRAINT IF EXISTS {quote(name)}"))
    condition = _condition(reader, relation.table, bound)
    checked: tuple[Block, ...] = ()
    if condition:
        add = unless(
            has_constraint(part.table, name),
            alter(part.table, f"ADD CONSTRAINT {quote(name)} CHECK ({condition}) NOT VALID"),
        )
        checked = (
            Block((add,), title=f"check {part.table} against its bound, not yet validated"),
            Block((alter(part.table, f"VALIDATE CONSTRAINT {quote(name)}"),), title="validate it", scans=True),
        )
    return Steps(
        fill=(*checked, Block(statements, title=f"attach {part.table}")),
        undo=(
            _detach_block(relation.table, part.table),
            _drop_bound_checks(part, name),
        ),
        tables=(relation.table, part.table),
    )


def _condition(reader: SchemaReader, parent: Table, bound: str) -> str:
    """Return the bound of a range of one column as a CHECK, which spares ATTACH a scan; empty if there is none."""
    rows = reader.ask.rows(
        "SELECT p.partstrat::text, p.partnatts, a.attname FROM pg_partitioned_table p LEFT JOIN pg_attribute a "
        "ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0] WHERE p.partrelid = "
        f"{literal(table_name(parent))}::regclass"
    )
    strategy, columns, name = rows[0]
    match = _RANGE.fullmatch(bound)
    if strategy != "r" or columns != 1 or name is None or match is None:
        return ""
    low, high = (item.strip() for item in match.groups())
    column = quote(name)
    found = [f"{column} IS NOT NULL"]
    found += [f"{column} >= {low}"] if low.upper() != "MINVALUE" else []
    found += [f"{column} < {high}"] if high.upper() != "MAXVALUE" else []
    return " AND ".join(found)


def _detach_block(parent: Table, part: Table) -> Block:
    attached = (
        f"SELECT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = {literal(table_name(part))}::regclass AND "
        f"inhparent = {literal(table_name(parent))}::regclass)"
    )
    return Block(
        (f"ALTER TABLE {table_name(parent)} DETACH PARTITION {table_name(part)} CONCURRENTLY",),
        title=f"detach {part}",
        alone=True,
        only_if=attached,
    )


def _drop_bound_checks(part: Relation, *others: str) -> Block:
    """Drop the CHECK that DETACH CONCURRENTLY leaves for the bound; PostgreSQL chooses its name."""
    known = (
        ", ".join(literal(item.name) for item in part.constraints if item.kind == "c" and item.name not in others)
        or "NULL"
    )
    table = literal(table_name(part.table))
    found = (
        f"SELECT conname FROM pg_constraint WHERE conrelid = {table}::regclass AND contype = 'c' AND NOT "
        f"coalesce(conname IN ({known}), FALSE)"
    )
    drop = f"EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', {table}, found.conname)"
    loop = f"FOR found IN {found} AND conislocal LOOP {drop}; END LOOP;"
    return Block((f"DO {DOLLAR} DECLARE found record; BEGIN {loop} END {DOLLAR}",), title="drop the check of the bound")


@declares
def expand_detach_partition(table: str, partition: str, *, schema: str | None = None, change: str = "") -> Change:
    """Detach a partition concurrently when no version reads its rows through the parent; it stays as a table."""
    return make("detach_partition", table, schema, change, partition, partition=partition)


@planner("detach_partition")
def _detach(change: Change, reader: SchemaReader) -> Steps:
    relation = reader.of(change)
    part = reader.named(change.options["partition"], change.schema)
    if part.parent != relation.table:
        raise Refused(f"{part.table} is no partition of {relation.table}", "check the names")
    if any("DEFAULT" in other.bound for other in reader.parts(relation)):
        raise Refused(
            f"{relation.table} has a default partition, and PostgreSQL then detaches none concurrently",
            "detach the default partition first, in a quiet moment, by op.expand_execute",
        )
    attach = f"ALTER TABLE {table_name(relation.table)} ATTACH PARTITION {table_name(part.table)} {part.bound}"
    return Steps(
        contract=(_detach_block(relation.table, part.table),),
        reopen=(Block((attach,), title=f"attach {part.table} again", scans=True), _drop_bound_checks(part)),
        tables=(relation.table, part.table),
    )


@declares
def expand_execute(  # noqa: PLR0913 - by keyword
    name: str,
    *,
    table: str,
    expand: str | Sequence[str] = (),
    contract: str | Sequence[str] = (),
    undo: str | Sequence[str] = (),
    reopen: str | Sequence[str] = (),
    schema: str | None = None,
    change: str = "",
) -> Change:
    """Run custom SQL, each statement with its phase and its way back. `table` is the one that it concerns.

    The statements of a phase are one transaction, with the same limits on locks as the kit's own.
    """
    options: dict[str, Any] = {
        phase: [one_statement(item) for item in ([given] if isinstance(given, str) else given)]
        for phase, given in (("expand", expand), ("contract", contract), ("undo", undo), ("reopen", reopen))
    }
    return make("execute", table, schema, change or name, name=name, **options)


@planner("execute")
def _execute(change: Change, reader: SchemaReader) -> Steps:
    relation, option = reader.of(change), change.options
    if not option.get("expand") and not option.get("contract"):
        raise Refused(f"{change.key} does nothing", "give SQL for expand or for contract")

    def blocks(phase: str) -> tuple[Block, ...]:
        statements = tuple(option.get(phase, ()))
        return (Block(statements, title=f"{option['name']}: {phase}"),) if statements else ()

    lost = "" if option.get("reopen") or not option.get("contract") else "no way back is declared"
    return Steps(
        expand=blocks("expand"),
        contract=blocks("contract"),
        undo=blocks("undo"),
        reopen=blocks("reopen"),
        lost=lost,
        tables=(relation.table,),
    )
