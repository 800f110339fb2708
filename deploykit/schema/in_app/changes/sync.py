"""Two-way sync of columns of one table: while it is installed, old and new writers may write at the same time.

The rule, for a row with old columns o and new columns n:

- INSERT: a value in any n is a new writer's, and o is computed from it; else n is computed from o. An explicit NULL
  in n looks like no value, and counts as none. A session may say which shape it writes (`deploykit.shape`).
- UPDATE: the side that changed decides; when both did, the new one does.
- An UPDATE of other columns, or of these to the values they have, runs nothing.

The triggers fire after the application's own BEFORE triggers, on every UPDATE: what those set is no part of the
statement's SET list, by which `UPDATE OF` goes. Where the application has such triggers, the same rule also runs
before them, so that a trigger that reads one side sees what was written to the other. The side that they change then
decides. Where that can't be told, it is the old one: the triggers were there before the new columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .blocks import DOLLAR
from .model import SHAPE_SETTING, SYNC_SETTING, Refused, Table
from .sql import bind, literal, name_for, quote, table_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .catalog import Column, Relation

__all__ = [
    "FIRST",
    "LAST",
    "differ",
    "drop_sync",
    "fill_sync",
    "function_name",
    "in_step",
    "install",
    "kept_close",
    "pair_sync",
    "reject_other_order",
    "silent",
]

FIRST, LAST = "!deploykit", "~deploykit"
"""How the names of triggers begin. PostgreSQL fires triggers in the order of their names, by bytes: these are the first
and the last printable characters of ASCII.
"""


def function_name(key: str, part: str = "") -> str:
    return f"deploykit.{quote(name_for('sync', key, part))}"


def _trigger_names(prefix: str, key: str) -> tuple[str, str]:
    return name_for(prefix, key, "i"), name_for(prefix, key, "u")


def reject_other_order(relation: Relation) -> None:
    """Raise Refused when a trigger of the application would not fire between the kit's first and last ones."""
    for name in relation.triggers:
        if not FIRST.encode() < name.encode() < LAST.encode():
            raise Refused(
                f"the trigger {name} of {relation.table} fires before or after all of the kit's: triggers fire in "
                "the order of their names",
                f"rename it first: ALTER TRIGGER {quote(name)} ON {table_name(relation.table)} RENAME TO …",
            )


def kept_close(key: str, *parts: str) -> tuple[str, ...]:
    """Keep other roles from calling the functions, or making triggers with them; firing a trigger needs no right."""
    return tuple(f"REVOKE ALL ON FUNCTION {function_name(key, part)}() FROM PUBLIC" for part in parts)


def silent(key: str) -> str:
    """Return the condition under which the change's triggers fire."""
    return f"current_setting({literal(SYNC_SETTING)}, true) IS DISTINCT FROM {literal(key)}"


def differ(left: str, right: str, column: Column) -> str:
    return (
        f"{left} IS DISTINCT FROM {right}" if column.comparable else f"({left})::text IS DISTINCT FROM ({right})::text"
    )


def _comparable(column: Column) -> str:
    """Return the cast under which its values are compared: two collations have no common equality."""
    return '::text COLLATE "C"' if column.collation else "" if column.comparable else "::text"


def function(name: str, body: str, *, more: str = "") -> str:
    """Return the statement. `more` is such as SECURITY DEFINER; by default names are looked up as they were at expand.

    A writer may have another search_path, and temporary objects: at expand the path ends with pg_temp.
    """
    if DOLLAR in body:
        raise Refused(f"an expression holds {DOLLAR}, by which the kit quotes functions", "write it without")
    more = more or "SET search_path FROM CURRENT "
    return f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql {more}AS {DOLLAR}\n{body}\n{DOLLAR}"


def in_step(
    old: Sequence[Column],
    new: Sequence[Column],
    up: Mapping[str, str],
    down: Mapping[str, str],
    names: Sequence[str],
    row: str,
) -> str:
    """Return the predicate of a row (`NEW`, or an alias) whose sides agree.

    A mapping may lose something one way, so the agreement of either direction is enough.
    """

    def agrees(columns: Sequence[Column], made: Mapping[str, str]) -> str:
        pairs = [
            f"({row}.{quote(c.name)}){cast} IS NOT DISTINCT FROM ({bind(made[c.name], names, row)}){cast}"
            for c in columns
            if c.name in made
            for cast in (_comparable(c),)
        ]
        return " AND ".join(pairs) or "FALSE"

    return f"(({agrees(new, up)}) OR ({agrees(old, down)}))"


def pair_sync(
    key: str,
    relation: Relation,
    old: Sequence[Column],
    new: Sequence[Column],
    up: Mapping[str, str],
    down: Mapping[str, str],
) -> tuple[str, ...]:
    """Return the statements for functions and triggers. `up` computes new columns from old ones, `down` the reverse."""
    reject_other_order(relation)
    names = [column.name for column in (*old, *new)]
    newer, older = (
        " OR ".join(differ(f"NEW.{quote(c.name)}", f"OLD.{quote(c.name)}", c) for c in side) for side in (new, old)
    )
    shape = (
        f"TG_OP = 'INSERT' AND position({literal(f',{key},')} IN "
        f"coalesce(current_setting({literal(SHAPE_SETTING)}, true), '')) > 0"
    )

    def body(new_decides: str, *, before: Sequence[str] = (), after: Sequence[str] = ()) -> str:
        # In an INSERT, OLD is a row of NULLs, so "differs from OLD" is "has a value".
        return "\n".join(
            [
                "BEGIN",
                *before,
                f"  IF {new_decides} THEN",
                *_unfilled(new, up, names),
                *(f"    NEW.{quote(c.name)} := {bind(down[c.name], names, 'NEW')};" for c in old if c.name in down),
                "  ELSE",
                *(f"    NEW.{quote(c.name)} := {bind(up[c.name], names, 'NEW')};" for c in new),
                "  END IF;",
                *after,
                "  RETURN NEW;",
                "END",
            ]
        )

    changed = " OR ".join(differ(f"OLD.{quote(c.name)}", f"NEW.{quote(c.name)}", c) for c in (*old, *new))
    decides = f"{newer} OR ({shape})"
    if not relation.triggers:
        return install(key, relation.table, function(function_name(key), body(decides)), changed)
    # The first remembers the new side, so that the last sees which side was changed in between.
    memory, side = literal(f"deploykit.made_{key}"), f"ROW({', '.join(f'NEW.{quote(c.name)}' for c in new)})::text"
    first = body(decides, after=[f"  PERFORM set_config({memory}, {side}, true);"])
    last = body(
        f"(made <> '' AND made <> {side}) OR (made = '' AND ({newer}) AND NOT ({older}))",
        before=[
            f"  PERFORM set_config({memory}, '', true);",
            f"  IF {in_step(old, new, up, down, names, 'NEW')} THEN RETURN NEW; END IF;",
        ],
    )
    last = f"DECLARE made text := coalesce(current_setting({memory}, true), '');\n{last}"
    return (
        *install(key, relation.table, function(function_name(key), first), changed, prefix=FIRST),
        # Not silent: a trigger of the application may change a row that the backfill writes.
        *install(key, relation.table, function(function_name(key, "last"), last), changed, part="last", when=""),
    )


def _unfilled(new: Sequence[Column], up: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """Fill the other new columns first when a new writer sets one of several in a row that is not filled yet."""
    if len(new) == 1:
        return []
    empty = " AND ".join(f"OLD.{quote(c.name)} IS NULL" for c in new)
    filled = [
        f"      IF NEW.{quote(c.name)} IS NULL THEN NEW.{quote(c.name)} := {bind(up[c.name], names, 'OLD')}; END IF;"
        for c in new
    ]
    return [f"    IF TG_OP = 'UPDATE' AND {empty} THEN", *filled, "    END IF;"]


def fill_sync(key: str, relation: Relation, column: Column, expression: str, columns: Sequence[str]) -> tuple[str, ...]:
    """Return the sync that fills what a writer leaves NULL."""
    reject_other_order(relation)
    target = f"NEW.{quote(column.name)}"
    body = f"BEGIN\n  {target} := {bind(expression, columns, 'NEW')};\n  RETURN NEW;\nEND"
    empty = f"{target} IS NULL"
    return install(key, relation.table, function(function_name(key), body), empty, on_insert=empty)


def install(  # noqa: PLR0913 - by keyword
    key: str,
    table: Table,
    made: str,
    changed: str,
    *,
    on_insert: str = "",
    prefix: str = LAST,
    part: str = "",
    when: str | None = None,
) -> tuple[str, ...]:
    """Return the function and its two triggers: for an INSERT, and for an UPDATE whose row fulfils `changed`.

    `when` is what both ask first: by default that the change is not silent, empty for nothing.
    """
    insert, update = _trigger_names(prefix, key)
    target, run = table_name(table), f"EXECUTE FUNCTION {function_name(key, part)}()"
    asked = silent(key) if when is None else when

    def condition(more: str) -> str:
        both = " AND ".join(item for item in (asked, f"({more})" if more else "") if item)
        return f"WHEN ({both}) " if both else ""

    return (
        made,
        *kept_close(key, part),
        f"DROP TRIGGER IF EXISTS {quote(insert)} ON {target}",
        f"DROP TRIGGER IF EXISTS {quote(update)} ON {target}",
        f"CREATE TRIGGER {quote(insert)} BEFORE INSERT ON {target} FOR EACH ROW {condition(on_insert)}{run}",
        f"CREATE TRIGGER {quote(update)} BEFORE UPDATE ON {target} FOR EACH ROW {condition(changed)}{run}",
    )


def drop_sync(key: str, relation: Relation) -> tuple[str, ...]:
    target = table_name(relation.table)
    prefixes, parts = ((FIRST, LAST), ("", "last")) if relation.triggers else ((LAST,), ("",))
    return (
        # DROP TRIGGER locks the partitions before their parent, writers the parent first.
        *((f"LOCK TABLE {target} IN ACCESS EXCLUSIVE MODE",) if relation.partitioned else ()),
        *(
            f"DROP TRIGGER IF EXISTS {quote(name)} ON {target}"
            for prefix in prefixes
            for name in _trigger_names(prefix, key)
        ),
        *(f"DROP FUNCTION IF EXISTS {function_name(key, part)}()" for part in parts),
    )
