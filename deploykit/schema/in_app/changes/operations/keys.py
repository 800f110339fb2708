"""Keys of another type, such as int to bigint: with the sequence, and the columns that reference the key."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..blocks import DOLLAR, alter, build_index, not_null, use_index
from ..column_copy import Copy, copy_columns
from ..model import Block, Change, Refused, Step, Steps, Table
from ..sql import literal, name_for, quote, table_name
from .registry import declares, make, planner, type_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..catalog import Column, Constraint, Relation
    from ..schema_reader import SchemaReader


@declares
def expand_change_key(  # noqa: PLR0913 - by keyword
    table: str,
    column: str,
    type_: Any = "bigint",
    *,
    to: str = "",
    references: Mapping[str, str] | None = None,
    schema: str | None = None,
    change: str = "",
) -> Change:
    """Change the type of a primary key: a new column `to` (`<column>_2`), and one for each column that references it.

    `references` names those: `{"orders.user_id": "user_id_2"}`; `<column>_2` by default. Until contract new rows keep
    both within the old type.
    """
    options = {"type": type_name(type_), "to": to or f"{column}_2", "references": dict(references or {})}
    return make("change_key", table, schema, change, column, column=column, **options)


@planner("change_key")
def _change_key(change: Change, reader: SchemaReader) -> Steps:
    relation, option = reader.of(change), change.options
    table, column, to, type_ = relation.table, relation.column(option["column"]), option["to"], option["type"]
    if relation.primary_key != (column.name,):
        raise Refused(f"{column.name} is not the primary key of {table}", "for another column: op.expand_change_type")
    if relation.partitioned:
        raise Refused(
            f"{table} is partitioned", "make a new partitioned table and move the rows by op.expand_split_table"
        )
    main = copy_columns(change.key, relation, _copy(column, to, type_))
    sure, _ = not_null(table, to)
    key = next(item for item in relation.constraints if item.kind == "p")
    index = name_for(key.name, to)
    extra: tuple[Step, ...] = (
        *(sure if not column.not_null else ()),
        *build_index(relation, index, f"({quote(to)})", unique=True),
    )
    names = _names(change, reader, relation)
    others = [_reference(change, reader, item, number, names) for number, item in enumerate(relation.incoming, 1)]
    # The rows, then the keys, then what points to them.
    fill = (*_before_compare(main), *extra, *(step for steps, _ in others for step in steps.fill), *_comparisons(main))
    tables = tuple(dict.fromkeys([table, *(item.table for _, item in others)]))
    lock = f"LOCK TABLE {', '.join(table_name(item) for item in tables)} IN ACCESS EXCLUSIVE MODE"
    statements = [lock]
    for steps, item in others:
        statements.append(alter(item.table, f"DROP CONSTRAINT IF EXISTS {quote(item.name)}"))
        statements += _statements(steps.contract)
    ended = list(_statements(main.contract))
    place = next(number for number, text in enumerate(ended) if "DROP COLUMN" in text)
    swap = [
        *_hand_over(table, column, to, type_),
        alter(table, f"DROP CONSTRAINT IF EXISTS {quote(key.name)}"),
        use_index(table, index, index, "PRIMARY KEY"),
    ]
    statements += [*ended[:place], *swap, *ended[place:]]
    again = _again_name(table, column)
    undo = [
        lock,
        *(text for steps, _ in others for text in _statements(steps.undo)),
        *_statements(main.undo),
        _key_again(table, key.name, again),
    ]
    if column.identity == "a":
        # BY DEFAULT since `reopen`, which writes it.
        undo.append(alter(table, f"ALTER COLUMN {quote(column.name)} SET GENERATED ALWAYS"))
    return Steps(
        expand=(*main.expand, *(step for steps, _ in others for step in steps.expand)),
        fill=fill,
        contract=(Block(tuple(statements), title=f"make {to} the key, and drop {column.name}"),),
        undo=(Block(tuple(undo), title=f"drop {to} and the columns that refer to it"),),
        reopen=_reopen(relation, column, to, main, others),
        tables=tables,
        notes=(f"{column.name} stays within {column.type} until contract: see that the sequence has room", *main.notes),
    )


def _copy(column: Column, to: str, type_: str, referred: Mapping[str, str] | None = None) -> Copy:
    return Copy(
        old=(column.name,),
        new={to: type_},
        up={to: f"{quote(column.name)}::{type_}"},
        down={column.name: f"{quote(to)}::{column.type}"},
        key_columns=True,
        referred=referred or {},
    )


def _names(change: Change, reader: SchemaReader, relation: Relation) -> dict[tuple[Table, str], str]:
    """Return the declared names of the new referring columns. Raises Refused for one that does not refer to the key."""
    found: dict[tuple[Table, str], str] = {}
    known = {(item.table, column) for item in relation.incoming for column in item.columns}
    for old, new in change.options.get("references", {}).items():
        *schema, table, column = old.split(".")
        place = (reader.named(table, ".".join(schema)).table, column)
        if place not in known:
            known_names = ", ".join(f"{item}.{name}" for item, name in sorted(known, key=str)) or "none does"
            raise Refused(f"{old} does not refer to {relation.table}", f"these columns do: {known_names}")
        found[place] = new
    return found


def _reference(
    change: Change, reader: SchemaReader, item: Constraint, number: int, names: Mapping[tuple[Table, str], str]
) -> tuple[Steps, Constraint]:
    if len(item.columns) != 1:
        raise Refused(
            f"{item.table} refers to the key by several columns ({item.name})",
            "drop that foreign key by a change of its own first",
        )
    relation = reader.relation(item.table)
    column = relation.column(item.columns[0])
    new = names.get((item.table, column.name)) or f"{column.name}_2"
    option = change.options
    copy = _copy(column, new, option["type"], {option["column"]: option["to"]})
    steps = copy_columns(name_for(change.key, f"r{number}"), relation, copy, reader.parts(relation))
    return (_in_key(relation, column.name, new, steps) if column.name in relation.primary_key else steps), item


def _in_key(relation: Relation, old: str, new: str, steps: Steps) -> Steps:
    """Carry over the column's own primary key, which contains it, as in a table between two others."""
    table = relation.table
    if relation.partitioned:
        raise Refused(
            f"{table}.{old} refers to the key and is part of the key of a partitioned table",
            "make a new partitioned table and move the rows by op.expand_split_table",
        )
    if used := next((item for item in relation.incoming if old in item.referred), None):
        raise Refused(
            f"{used.table} refers to {table} by {old} ({used.name})",
            "drop that foreign key by a change of its own first",
        )
    key = next(item for item in relation.constraints if item.kind == "p")
    index, again = name_for(key.name, new), name_for(table.name, *relation.primary_key, "again")
    replaced = ", ".join(quote(new if name == old else name) for name in relation.primary_key)
    before = ", ".join(map(quote, relation.primary_key))
    ended = list(_statements(steps.contract))
    place = next(number for number, text in enumerate(ended) if "DROP COLUMN" in text)
    swap = [
        alter(table, f"DROP CONSTRAINT IF EXISTS {quote(key.name)}"),
        use_index(table, index, index, "PRIMARY KEY"),
    ]
    return replace(
        steps,
        fill=(
            *_before_compare(steps),
            *build_index(relation, index, f"({replaced})", unique=True),
            *_comparisons(steps),
        ),
        contract=(Block((*ended[:place], *swap, *ended[place:])),),
        undo=(Block((*_statements(steps.undo), _key_again(table, key.name, again))),),
        reopen=(*steps.reopen, *build_index(relation, again, f"({before})", unique=True)),
    )


def _key_again(table: Table, name: str, index: str) -> str:
    """After contract and reopen the key is the new column's and goes with it; its index becomes the key again."""
    return (
        f"DO {DOLLAR} BEGIN IF to_regclass({literal(f'{quote(table.schema)}.{quote(index)}')}) IS NOT NULL THEN "
        f"{alter(table, f'ADD CONSTRAINT {quote(name)} PRIMARY KEY USING INDEX {quote(index)}')}; END IF; END {DOLLAR}"
    )


def _statements(program: tuple[Step, ...]) -> tuple[str, ...]:
    return tuple(text for step in program if isinstance(step, Block) for text in step.statements)


def _comparisons(steps: Steps) -> tuple[Step, ...]:
    return tuple(steps.comparisons())


def _before_compare(steps: Steps) -> tuple[Step, ...]:
    compared = _comparisons(steps)
    return tuple(step for step in steps.fill if step not in compared)


def _hand_over(table: Table, old: Column, new: str, type_: str) -> tuple[str, ...]:
    """Let the new column number new rows from where the old one stopped."""
    name = literal(table_name(table))
    if old.identity:
        kind = "ALWAYS" if old.identity == "a" else "BY DEFAULT"
        return (
            f"DO {DOLLAR} DECLARE next bigint; BEGIN SELECT nextval(pg_get_serial_sequence({name}, "
            f"{literal(old.name)})) INTO next; "
            f"EXECUTE format('ALTER TABLE %s ALTER COLUMN %I ADD GENERATED {kind} AS IDENTITY (START WITH %s)', "
            f"{name}, {literal(new)}, next); "
            f"END {DOLLAR}",
        )
    if old.sequence:
        return (
            f"ALTER SEQUENCE {old.sequence} AS {type_} OWNED BY {table_name(table)}.{quote(new)}",
            alter(table, f"ALTER COLUMN {quote(new)} SET DEFAULT {old.default}"),
        )
    return ()


def _hand_back(table: Table, old: Column, new: str) -> tuple[str, ...]:
    name = literal(table_name(table))
    if old.identity:
        return (
            f"DO {DOLLAR} DECLARE next bigint; BEGIN SELECT nextval(pg_get_serial_sequence({name}, "
            f"{literal(new)})) INTO next; "
            f"EXECUTE format('ALTER TABLE %s ALTER COLUMN %I DROP IDENTITY IF EXISTS', {name}, {literal(new)}); "
            f"EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET NOT NULL', {name}, {literal(old.name)}); "
            "EXECUTE format('ALTER TABLE %s ALTER COLUMN %I ADD GENERATED BY DEFAULT AS IDENTITY (START WITH "
            f"%s)', {name}, {literal(old.name)}, next); "
            f"END {DOLLAR}",
        )
    if old.sequence:
        return (
            alter(table, f"ALTER COLUMN {quote(new)} DROP DEFAULT"),
            f"ALTER SEQUENCE {old.sequence} OWNED BY {table_name(table)}.{quote(old.name)}",
            alter(table, f"ALTER COLUMN {quote(old.name)} SET DEFAULT {old.default}"),
        )
    return ()


def _again_name(table: Table, column: Column) -> str:
    """Restore the unique index of the old column."""
    return name_for(table.name, column.name, "again")


def _reopen(
    relation: Relation, column: Column, to: str, main: Steps, others: list[tuple[Steps, Constraint]]
) -> tuple[Step, ...]:
    """Fill the old column and make it unique again. The key stays the new one, which the old shape does not notice."""
    table = relation.table
    unique = _again_name(table, column)
    first = main.reopen[0]
    handed = _hand_back(table, column, to)
    steps: list[Step] = []
    if isinstance(first, Block):
        # The identity column has to hold no NULL, so it gets its numbers back once the rows are there.
        early = () if column.identity else handed
        kept = tuple(
            text
            for text in first.statements
            if not (column.identity and text.startswith("ALTER") and "DROP DEFAULT" in text)
        )
        at = next(number for number, text in enumerate(kept) if "ADD COLUMN" in text) + 1
        steps.append(Block((*kept[:at], *early, *kept[at:]), title=first.title))
    steps += main.reopen[1:]
    steps += build_index(relation, unique, f"({quote(column.name)})", unique=True)
    if column.identity:
        # Locked first, so that no session draws a number between this read and the new start.
        lock = f"LOCK TABLE {table_name(table)} IN ACCESS EXCLUSIVE MODE"
        steps.append(Block((lock, *handed), title=f"number rows by {column.name} again"))
    for other, _ in others:
        steps += other.reopen
    return tuple(steps)
