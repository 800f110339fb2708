"""Two-way sync of columns of one table: while it is installed, old and new writers may write at the same time.

The rule, for a row with old columns o and new columns n:

- INSERT: a value in any n is a new writer's, and o is computed from it; else n is computed from o. An explicit NULL
  in n looks like no value, and counts as none. A session may say which shape it writes (`deploykit.shape`).
- UPDATE: the side that changed decides; when both did, the new one does.
- An UPDATE of other columns, or of these to the values they have, runs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .blocks import DOLLAR
from .model import SHAPE_SETTING, SYNC_SETTING, Refused, Table
from .sql import bind, literal, name_for, quote, table_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .catalog import Column

__all__ = ["differ", "drop_sync", "fill_sync", "function_name", "install", "pair_sync", "silent", "trigger_names"]


def function_name(key: str, part: str = "") -> str:
    return f"deploykit.{quote(name_for('sync', key, part))}"


def trigger_names(key: str) -> tuple[str, str]:
    """Triggers fire in the order of their names: these fire after the application's own, and see what those wrote."""
    return name_for("zz_deploykit", key, "i"), name_for("zz_deploykit", key, "u")


def silent(key: str) -> str:
    """Return the condition under which the change's triggers fire."""
    return f"current_setting({literal(SYNC_SETTING)}, true) IS DISTINCT FROM {literal(key)}"


def differ(left: str, right: str, column: Column) -> str:
    return (
        f"{left} IS DISTINCT FROM {right}" if column.comparable else f"({left})::text IS DISTINCT FROM ({right})::text"
    )


def function(name: str, body: str, *, more: str = "") -> str:
    if DOLLAR in body:
        raise Refused(f"an expression holds {DOLLAR}, by which the kit quotes functions", "write it without")
    return f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql {more}AS {DOLLAR}\n{body}\n{DOLLAR}"


def pair_sync(
    key: str,
    table: Table,
    old: Sequence[Column],
    new: Sequence[Column],
    up: Mapping[str, str],
    down: Mapping[str, str],
) -> tuple[str, ...]:
    """Return the statements for function and triggers. `up` computes new columns from old ones, `down` the reverse."""
    names = [column.name for column in (*old, *new)]
    newer = " OR ".join(differ(f"NEW.{quote(c.name)}", f"OLD.{quote(c.name)}", c) for c in new)
    shape = (
        f"TG_OP = 'INSERT' AND position({literal(f',{key},')} IN "
        f"coalesce(current_setting({literal(SHAPE_SETTING)}, true), '')) > 0"
    )
    # In an INSERT, OLD is a row of NULLs, so "differs from OLD" is "has a value".
    body = "\n".join(
        [
            "BEGIN",
            f"  IF {newer} OR ({shape}) THEN",
            *_unfilled(new, up, names),
            *(f"    NEW.{quote(c.name)} := {bind(down[c.name], names, 'NEW')};" for c in old if c.name in down),
            "  ELSE",
            *(f"    NEW.{quote(c.name)} := {bind(up[c.name], names, 'NEW')};" for c in new),
            "  END IF;",
            "  RETURN NEW;",
            "END",
        ]
    )
    columns = (*old, *new)
    changed = " OR ".join(differ(f"OLD.{quote(c.name)}", f"NEW.{quote(c.name)}", c) for c in columns)
    return install(key, table, function(function_name(key), body), [c.name for c in columns], changed)


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


def fill_sync(key: str, table: Table, column: Column, expression: str, columns: Sequence[str]) -> tuple[str, ...]:
    """Return the sync that fills what a writer leaves NULL."""
    target = f"NEW.{quote(column.name)}"
    body = f"BEGIN\n  {target} := {bind(expression, columns, 'NEW')};\n  RETURN NEW;\nEND"
    return install(
        key,
        table,
        function(function_name(key), body),
        [column.name],
        f"{target} IS NULL",
        on_insert=f"{target} IS NULL",
    )


def install(
    key: str, table: Table, made: str, columns: Sequence[str], changed: str, *, on_insert: str = ""
) -> tuple[str, ...]:
    """Return the function and its two triggers, for an INSERT, and for an UPDATE that changes one of these columns."""
    insert, update = trigger_names(key)
    name, when = function_name(key), silent(key)
    target = table_name(table)
    first = f"{when} AND ({on_insert})" if on_insert else when
    return (
        made,
        f"DROP TRIGGER IF EXISTS {quote(insert)} ON {target}",
        f"DROP TRIGGER IF EXISTS {quote(update)} ON {target}",
        f"CREATE TRIGGER {quote(insert)} BEFORE INSERT ON {target} FOR EACH ROW WHEN ({first}) EXECUTE FUNCTION "
        f"{name}()",
        f"CREATE TRIGGER {quote(update)} BEFORE UPDATE OF {', '.join(map(quote, columns))} ON {target} "
        f"FOR EACH ROW WHEN ({when} AND ({changed})) EXECUTE FUNCTION {name}()",
    )


def drop_sync(key: str, table: Table, *, partitioned: bool) -> tuple[str, ...]:
    target = table_name(table)
    return (
        # DROP TRIGGER locks the partitions before their parent, writers the parent first.
        *((f"LOCK TABLE {target} IN ACCESS EXCLUSIVE MODE",) if partitioned else ()),
        *(f"DROP TRIGGER IF EXISTS {quote(name)} ON {target}" for name in trigger_names(key)),
        f"DROP FUNCTION IF EXISTS {function_name(key)}()",
    )
