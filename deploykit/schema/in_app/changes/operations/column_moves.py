"""Changes that move columns between tables: to a new table, or to an existing one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..blocks import alter, comment, grant, not_null, settings
from ..model import Backfill, Block, Change, Comparison, Refused, Step, Steps, Table
from ..obstacles import reject_dependents, reject_row_security, reject_uncopied
from ..sql import quote, table_name
from ..sync import reject_other_order
from ..table_sync import MADE, TableSync
from .registry import declares, make, planner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..catalog import Relation
    from ..schema_reader import SchemaReader


@declares
def expand_split_table(  # noqa: PLR0913 - by keyword
    table: str,
    columns: Sequence[str],
    to: str,
    *,
    key: str = "",
    fill: Mapping[str, str] | None = None,
    schema: str | None = None,
    change: str = "",
) -> Change:
    """Move columns to a new table `to`, with one row for each row of the old table, which it references by `key`.

    `fill` has SQL for old columns that are NOT NULL without a default: new writers omit them.
    """
    return make(
        "split_table",
        table,
        schema,
        change,
        to,
        columns=list(columns),
        to=to,
        key=key or f"{table}_id",
        fill=dict(fill or {}),
    )


@planner("split_table")
def _split(change: Change, reader: SchemaReader) -> Steps:
    relation, option = reader.of(change), change.options
    source, target = relation.table, reader.unused(option["to"], change, relation)
    if len(relation.primary_key) != 1:
        raise Refused(f"{source} has no primary key of one column", "the new table's rows could not be identified")
    reject_row_security(relation, target.name, secured=False)
    own = relation.primary_key[0]
    columns = {name: name for name in option["columns"]}
    table_sync = _table_sync(change, relation, own, target, option["key"], columns, creates=True)
    defined = [
        f"{quote(option['key'])} {relation.column(own).type} PRIMARY KEY REFERENCES {table_name(source)} "
        f"({quote(own)}) ON DELETE CASCADE",
        *(_definition(relation, name) for name in columns),
        f"{MADE} boolean NOT NULL DEFAULT FALSE",
    ]
    grants = tuple(f"GRANT {privilege} ON {table_name(target)} TO {role}" for role, privilege in relation.grants)
    # Who may read or write the old key column has to find the rows.
    attributes = (
        *grant(target, option["key"], [relation.column(own)]),
        *_attributes(relation, target, columns),
    )
    made = f"CREATE TABLE {table_name(target)} ({', '.join(defined)})"
    owner = f"ALTER TABLE {table_name(target)} OWNER TO {quote(relation.owner)}"
    names = ", ".join(quote(name) for name in columns)
    values = ", ".join(f"source.{quote(name)}" for name in columns)
    fill = Backfill(
        source,
        key=change.key,
        # FOR SHARE reads the newest version of a row, and none that was deleted meanwhile.
        statement=(
            f"INSERT INTO {table_name(target)} ({quote(option['key'])}, {names}, {MADE}) SELECT "
            f"source.{quote(own)}, {values}, TRUE "
            f"FROM {table_name(source)} source WHERE {{batch}} FOR SHARE ON CONFLICT DO NOTHING"
        ),
        before=table_sync.gate_old,
        title=f"fill {target}",
    )
    loosen, tighten = _loosen(change, relation)
    return Steps(
        expand=(
            Block(
                (made, owner, *grants, *attributes, *loosen, *table_sync.install()),
                title=f"make {target} with its sync",
            ),
        ),
        fill=(
            fill,
            Block((f"ANALYZE {table_name(target)}",), title="count the values", scans=True),
            _compare(table_sync),
        ),
        contract=(
            Block(
                (
                    _lock(source, target),
                    *table_sync.remove(),
                    alter(target, f"DROP COLUMN IF EXISTS {MADE}"),
                    alter(source, *(f"DROP COLUMN IF EXISTS {quote(name)}" for name in columns)),
                ),
                title=f"drop {', '.join(columns)} and the sync",
            ),
        ),
        undo=(
            Block(
                (*table_sync.remove(target_gone=f"DROP TABLE IF EXISTS {table_name(target)} CASCADE"), *tighten),
                title=f"drop {target}",
            ),
        ),
        reopen=_reopen(
            change,
            relation,
            table_sync,
            [alter(target, f"ADD COLUMN IF NOT EXISTS {MADE} boolean NOT NULL DEFAULT FALSE")],
        ),
        tables=(source, target),
    )


def _lock(*tables: Table) -> str:
    return f"LOCK TABLE {', '.join(table_name(table) for table in tables)} IN ACCESS EXCLUSIVE MODE"


def _definition(relation: Relation, name: str) -> str:
    column = relation.column(name)
    if column.generated or column.identity:
        raise Refused(f"{relation.table}.{name} is computed by PostgreSQL", "declare it in the new table by hand")
    return (
        f"{quote(name)} {column.declared}"
        + (f" DEFAULT {column.default}" if column.default else "")
        + (" NOT NULL" if column.not_null else "")
    )


def _attributes(relation: Relation, table: Table, columns: Mapping[str, str]) -> tuple[str, ...]:
    """Give the table's columns the privileges, comments and settings of their counterparts in the relation."""
    return tuple(
        text
        for old, new in columns.items()
        for column in (relation.column(old),)
        for text in (*grant(table, new, [column]), *comment(table, new, [column]), *settings(table, new, column))
    )


def _table_sync(  # noqa: PLR0913 - by keyword
    change: Change, relation: Relation, own: str, target: Table, key: str, columns: Mapping[str, str], *, creates: bool
) -> TableSync:
    reject_other_order(relation)
    reject_dependents([relation], columns)
    reject_uncopied(relation, columns, keys=False)
    for name in columns:
        if name in relation.primary_key or name in relation.partition_key:
            raise Refused(f"{relation.table}.{name} is a key of the table", "a key can't be moved away")
        for view, used in relation.views.items():
            if name in used:
                raise Refused(f"the view {view} reads {relation.table}.{name}", f"replace the view {view} first")
        for incoming in relation.incoming:
            if name in incoming.referred:
                raise Refused(f"{incoming.table} refers to {relation.table}.{name}", f"drop {incoming.name} first")
    fill = change.options.get("fill", {})
    return TableSync(
        change.key,
        relation.table,
        own,
        target,
        key,
        columns,
        creates,
        {name: fill[name] for name in columns if fill.get(name)},
        frozenset(name for name in columns if relation.column(name).compared_as_text),
        relation.column(own).operators or "pg_catalog",
    )


def _loosen(change: Change, relation: Relation) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give old columns that need a value a default, since new writers omit them; the way back removes it."""
    fill, table = change.options.get("fill", {}), relation.table
    before, after = [], []
    for name in change.options["columns"] if "columns" in change.options else [change.options["column"]]:
        column = relation.column(name)
        if column.not_null and not column.default:
            if name not in fill:
                raise Refused(
                    f"{table}.{name} may not be NULL and has no default, so inserts of the new version would fail",
                    f"give a value for it: fill={{'{name}': …}}",
                )
            before.append(alter(table, f"ALTER COLUMN {quote(name)} SET DEFAULT {fill[name]}"))
            after.append(alter(table, f"ALTER COLUMN {quote(name)} DROP DEFAULT"))
    return tuple(before), tuple(after)


def _compare(table_sync: TableSync) -> Comparison:
    target, key = table_name(table_sync.target), quote(table_sync.target_key)
    same = " AND ".join(
        f"t.{quote(new)} IS NOT DISTINCT FROM source.{quote(old)}" for old, new in table_sync.columns.items()
    )
    here = f"t.{key} = source.{quote(table_sync.source_key)}"
    agree = f"EXISTS (SELECT FROM {target} t WHERE {here} AND {same})"
    if not table_sync.creates:
        agree = f"NOT EXISTS (SELECT FROM {target} t WHERE {here} AND NOT ({same}))"
    left = ", ".join(f"source.{quote(name)}::text" for name in table_sync.columns)
    right = ", ".join(f"t.{quote(name)}::text" for name in table_sync.columns.values())
    return Comparison(
        table_sync.source,
        agree,
        f"concat_ws(' | ', {left})",
        f"(SELECT concat_ws(' | ', {right}) FROM {target} t WHERE {here})",
        title=f"compare {table_sync.source} with {table_sync.target}",
    )


def _reopen(change: Change, relation: Relation, table_sync: TableSync, more: Sequence[str]) -> tuple[Step, ...]:
    """Restore the old columns, with the sync, then their values from the other table."""
    table = relation.table
    fill = change.options.get("fill", {})
    add: list[str] = []
    defaults: list[str] = []
    end: list[str] = []
    sure: list[Step] = []
    for name in table_sync.columns:
        column = relation.column(name)
        default = fill.get(name) or column.default
        # The default comes after the column: rows that are there stay NULL, which says that they are to be filled.
        add.append(f"ADD COLUMN IF NOT EXISTS {quote(name)} {column.declared}")
        if column.not_null:
            made, last = not_null(table, name)
            sure += made
            end += last
        if default:
            defaults.append(alter(table, f"ALTER COLUMN {quote(name)} SET DEFAULT {default}"))
    target, key = table_name(table_sync.target), quote(table_sync.target_key)
    here = f"t.{key} = source.{quote(table_sync.source_key)}"
    values = tuple(
        (old, f"(SELECT t.{quote(new)} FROM {target} t WHERE {here})") for old, new in table_sync.columns.items()
    )
    empty = " AND ".join(f"source.{quote(name)} IS NULL" for name in table_sync.columns)
    attributes = _attributes(relation, table, {name: name for name in table_sync.columns})
    steps: list[Step] = [
        Block(
            (*more, alter(table, *add), *attributes, *defaults, *table_sync.install()),
            title=f"add {', '.join(table_sync.columns)} again, with the sync",
        ),
        # In the new writers' direction: their rows are locked first.
        Backfill(table, values, needing=empty, key=change.key, before=table_sync.gate_old, title="fill them again"),
    ]
    for name in table_sync.columns:
        column = relation.column(name)
        default = fill.get(name) or column.default
        if column.not_null and default:
            steps.append(
                Backfill(
                    table,
                    ((name, default),),
                    needing=f"source.{quote(name)} IS NULL",
                    key=change.key,
                    title=f"fill {name}",
                )
            )
    steps += sure
    if end:
        steps.append(Block(tuple(end), title="make the old columns what they were"))
    return tuple(steps)


@declares
def expand_move_column(  # noqa: PLR0913 - by keyword
    table: str,
    column: str,
    to: str,
    *,
    on: Mapping[str, str],
    name: str = "",
    fill: str = "",
    schema: str | None = None,
    change: str = "",
) -> Change:
    """Move a column to another table. `on` maps the joining columns: `{"id": "user_id"}`, unique on both sides."""
    return make(
        "move_column",
        table,
        schema,
        change,
        column,
        to,
        column=column,
        to=to,
        on=dict(on),
        name=name or column,
        fill={column: fill} if fill else {},
    )


@planner("move_column")
def _move(change: Change, reader: SchemaReader) -> Steps:
    relation, option = reader.of(change), change.options
    other = reader.named(option["to"], change.schema)
    source, target = relation.table, other.table
    if len(option["on"]) != 1:
        raise Refused("rows belong together by one column of each table", "give one pair: on={'id': 'user_id'}")
    own, key = next(iter(option["on"].items()))
    for side, name in ((relation, own), (other, key)):
        side.column(name)
        if not any(index.unique and index.plain and index.columns == (name,) for index in side.indexes):
            raise Refused(
                f"{side.table}.{name} is not unique, so a row would belong to several",
                "add a unique constraint on it first, or split the table",
            )
    column, new = relation.column(option["column"]), option["name"]
    other.free(new)
    reject_other_order(other)
    reject_row_security(relation, target.name, secured=other.row_security)
    table_sync = _table_sync(change, relation, own, target, key, {column.name: new}, creates=False)
    loosen, tighten = _loosen(change, relation)
    rows = (
        f"SELECT source.{quote(own)} AS k, source.{quote(column.name)} AS v FROM {table_name(source)} source "
        f"WHERE {{batch}} FOR SHARE"
    )
    fill = Backfill(
        source,
        key=change.key,
        # FOR SHARE reads the newest version of a row. A plain read could be older than what the sync has written.
        statement=(
            f"UPDATE {table_name(target)} t SET {quote(new)} = s.v FROM ({rows}) s "
            f"WHERE t.{quote(key)} = s.k AND t.{quote(new)} IS NULL AND s.v IS NOT NULL"
        ),
        before=table_sync.gate_old,
        title=f"fill {target}.{new}",
    )
    return Steps(
        expand=(
            Block(
                (
                    alter(target, f"ADD COLUMN IF NOT EXISTS {quote(new)} {column.declared}"),
                    *_attributes(relation, target, {column.name: new}),
                    *loosen,
                    *table_sync.install(),
                ),
                title=f"add {target}.{new} with its sync",
            ),
        ),
        fill=(
            fill,
            Block((f"ANALYZE {table_name(target)} ({quote(new)})",), title="count the values", scans=True),
            _compare(table_sync),
        ),
        contract=(
            Block(
                (
                    _lock(source, target),
                    *table_sync.remove(),
                    alter(source, f"DROP COLUMN IF EXISTS {quote(column.name)}"),
                ),
                title=f"drop {source}.{column.name} and the sync",
            ),
        ),
        undo=(
            Block(
                (
                    _lock(source, target),
                    *table_sync.remove(),
                    alter(target, f"DROP COLUMN IF EXISTS {quote(new)}"),
                    *tighten,
                ),
                title=f"drop {target}.{new}",
            ),
        ),
        reopen=_reopen(change, relation, table_sync, []),
        tables=(source, target),
    )
