"""Two-way sync of columns between two tables: a write to one side reaches the other in the same transaction.

Two writers of opposite shape would lock the two rows in opposite order, and deadlock. So each statement that writes a
synced column first takes a *group lock* on an empty table. Writers of the old table take it in SHARE mode, those of the
new one in ROW EXCLUSIVE mode. Each mode admits its own kind and blocks the other.

A statement that sets a synced column only by a BEFORE trigger of the application takes it late, with its row already
locked. Two such writers may deadlock, and PostgreSQL then ends one; they are never out of step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .model import SYNC_SETTING, Table
from .sql import literal, name_for, quote, table_name
from .sync import FIRST, LAST, function, function_name, kept_close, silent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["MADE", "TableSync"]

_AS_MAKER = "SECURITY DEFINER SET search_path FROM CURRENT "
"""The application's role may lack rights on the other table, or on some of its columns.

The path is that of expand, with pg_temp at its end, for the triggers of the application that the statements fire. The
functions' own text looks nothing up there: functions, types and operators in it have their schema.
"""
_GATE = "SECURITY DEFINER SET search_path = pg_catalog, pg_temp "
"""The application's role has no rights on the kit's schema."""
MADE = "deploykit_synced"
"""A column of a table that a change makes, until contract.

It is true while the sync made the row and no new writer has inserted it yet.
"""


_IS_INSERT, _IS_UPDATE, _IS_DELETE = (
    f"TG_OP OPERATOR(pg_catalog.=) '{event}'::pg_catalog.text" for event in ("INSERT", "UPDATE", "DELETE")
)


@dataclass(frozen=True)
class TableSync:
    """The sync of one change. `columns` maps the source's columns to the target's.

    A row of the target has `target_key` = the source's `source_key`. `creates`: the sync makes the target's rows,
    marked by `MADE`. `empty` has the SQL for a source column when the target's row is deleted, where that is not its
    default. `as_text` are the source's columns whose values are compared by their text, and `key_operators` the
    schema, quoted, of the keys' `=`.
    """

    key: str
    source: Table
    source_key: str
    target: Table
    target_key: str
    columns: Mapping[str, str]
    creates: bool
    empty: Mapping[str, str]
    as_text: frozenset[str] = frozenset()
    key_operators: str = "pg_catalog"

    @property
    def gate(self) -> str:
        return f"deploykit.{quote(name_for('gate', self.key))}"

    @property
    def gate_old(self) -> str:
        """The lock of a writer of the old table; the backfill takes it too, since it copies in the same direction."""
        return f"LOCK TABLE {self.gate} IN SHARE MODE"

    def install(self) -> tuple[str, ...]:
        make = (
            f"CREATE TABLE IF NOT EXISTS {self.gate} ()",
            self._gate_function("gate_old", "SHARE"),
            self._gate_function("gate_new", "ROW EXCLUSIVE"),
            self._to_target(),
            self._to_source(),
            *((self._replace(),) if self.creates else (self._pull_target(), self._pull_source())),
        )
        parts = ("replace",) if self.creates else ("pull_target", "pull_source")
        close = kept_close(self.key, "gate_old", "gate_new", "to_target", "to_source", *parts)
        return (*make, *close, *self._drop_triggers(), *self._triggers())

    def remove(self, *, target_gone: str = "") -> tuple[str, ...]:
        """Remove the sync.

        `target_gone` is the statement that drops the target with its triggers, before their functions.
        """
        functions = ("gate_old", "gate_new", "to_target", "to_source", "replace", "pull_target", "pull_source")
        return (
            *self._drop_triggers(target_gone=bool(target_gone)),
            *((target_gone,) if target_gone else ()),
            *(f"DROP FUNCTION IF EXISTS {function_name(self.key, part)}()" for part in functions),
            f"DROP TABLE IF EXISTS {self.gate}",
        )

    def _gate_function(self, part: str, mode: str) -> str:
        body = f"BEGIN\n  LOCK TABLE {self.gate} IN {mode} MODE;\n  RETURN NULL;\nEND"
        return function(function_name(self.key, part), body, more=_GATE)

    def _quietly(self, *statements: str) -> str:
        """Return a body whose statements the other side's triggers ignore; `dk_row` is a record for them.

        It restores the setting, since changes may nest. A column of a variable's name would be ambiguous.
        """
        setting = literal(SYNC_SETTING)
        lines = "\n".join(f"  {statement};" for statement in statements)
        return (
            f"DECLARE dk_before pg_catalog.text := coalesce(pg_catalog.current_setting({setting}, true), ''); "
            "dk_row record;\nBEGIN\n"
            f"  PERFORM pg_catalog.set_config({setting}, {literal(self.key)}, true);\n{lines}\n"
            f"  PERFORM pg_catalog.set_config({setting}, dk_before, true);\n  RETURN NULL;\nEND"
        )

    def _to_target(self) -> str:
        target, key = table_name(self.target), quote(self.target_key)
        pairs = [(quote(new), f"NEW.{quote(old)}") for old, new in self.columns.items()]
        sets = ", ".join(f"{new} = {value}" for new, value in pairs)
        row = f"NEW.{quote(self.source_key)}"
        back = f"RETURNING {', '.join(f't.{new}' for new, _ in pairs)} INTO dk_row"
        if self.creates:
            names = ", ".join(new for new, _ in pairs)
            values = ", ".join(value for _, value in pairs)
            put = (
                f"INSERT INTO {target} AS t ({key}, {names}, {MADE}) VALUES ({row}, {values}, TRUE) ON CONFLICT ({key})"
            )
            # A new row of the source finds one only where a new writer has put it there: that one counts.
            statement = f"IF {_IS_INSERT} THEN {put} DO NOTHING {back}; ELSE {put} DO UPDATE SET {sets} {back}; END IF"
        else:
            differ = " OR ".join(
                self._differ(f"t.{quote(new)}", f"NEW.{quote(old)}", old) for old, new in self.columns.items()
            )
            empty = " AND ".join(f"t.{new} IS NULL" for new, _ in pairs)
            # A new row of the source may be a new writer's, who has put the values into the target: those count.
            here = f"{self._same_key(f't.{key}', row)} AND ({differ}) AND ({_IS_UPDATE} OR ({empty}))"
            statement = f"UPDATE {target} t SET {sets} WHERE {here} {back}"
        follow = self._follow(self.source, self.source_key, self.columns)
        body = self._quietly(self._late("SHARE"), statement, follow)
        return function(function_name(self.key, "to_target"), body, more=_AS_MAKER)

    def _to_source(self) -> str:
        source, key = table_name(self.source), quote(self.source_key)
        sets = ", ".join(f"{quote(old)} = NEW.{quote(new)}" for old, new in self.columns.items())
        differ = " OR ".join(
            self._differ(f"s.{quote(old)}", f"NEW.{quote(new)}", old) for old, new in self.columns.items()
        )
        emptied = ", ".join(f"{quote(old)} = {self.empty.get(old) or 'DEFAULT'}" for old in self.columns)
        back = f"RETURNING {', '.join(f's.{quote(old)}' for old in self.columns)} INTO dk_row"
        follow = self._follow(self.target, self.target_key, {new: old for old, new in self.columns.items()})
        body = self._quietly(
            self._late("ROW EXCLUSIVE"),
            f"IF {_IS_DELETE} THEN\n    UPDATE {source} s SET {emptied} WHERE "
            f"{self._same_key(f's.{key}', f'OLD.{quote(self.target_key)}')};\n"
            f"  ELSE\n    UPDATE {source} s SET {sets} WHERE "
            f"{self._same_key(f's.{key}', f'NEW.{quote(self.target_key)}')} AND "
            f"({differ}) {back};\n    {follow};\n  END IF",
        )
        return function(function_name(self.key, "to_source"), body, more=_AS_MAKER)

    def _differ(self, left: str, right: str, *columns: str) -> str:
        """IS DISTINCT FROM, whose operator can't be given a schema. One of `columns` is the source's."""
        if not self.as_text.isdisjoint(columns):
            left, right = f"{left}::pg_catalog.text", f"{right}::pg_catalog.text"
        return (
            f"(({left} OPERATOR(pg_catalog.=) {right}) IS NOT TRUE "
            f"AND pg_catalog.num_nulls({left}, {right}) OPERATOR(pg_catalog.<) 2)"
        )

    def _same_key(self, left: str, right: str) -> str:
        return f"{left} OPERATOR({self.key_operators}.=) {right}"

    def _late(self, mode: str) -> str:
        """Take the group lock where the statement has not: its SET list did not have the columns."""
        return f"IF {_IS_UPDATE} THEN LOCK TABLE {self.gate} IN {mode} MODE; END IF"

    def _follow(self, table: Table, key: str, columns: Mapping[str, str]) -> str:
        """Bring the own row to what the other table's triggers made of the values; `dk_row` has these.

        `columns` maps the own table's columns to those of `dk_row`.
        """
        other = " OR ".join(
            self._differ(f"dk_row.{quote(there)}", f"NEW.{quote(own)}", own, there) for own, there in columns.items()
        )
        sets = ", ".join(f"{quote(own)} = dk_row.{quote(there)}" for own, there in columns.items())
        here = self._same_key(f"o.{quote(key)}", f"NEW.{quote(key)}")
        return f"IF FOUND AND ({other}) THEN UPDATE {table_name(table)} o SET {sets} WHERE {here}; END IF"

    def _replace(self) -> str:
        """Let a new writer's row replace the one that the sync has already made."""
        target, key = table_name(self.target), quote(self.target_key)
        body = self._quietly(
            f"DELETE FROM {target} t WHERE {self._same_key(f't.{key}', f'NEW.{key}')} AND t.{MADE}"
        ).replace("RETURN NULL", "RETURN NEW")
        return function(function_name(self.key, "replace"), body, more=_AS_MAKER)

    def _pull_target(self) -> str:
        """Fill a target's row that is inserted after the source's with the source's values, where it has none."""
        return self._pull(
            "pull_target",
            self.source,
            self.source_key,
            self.target_key,
            {new: old for old, new in self.columns.items()},
        )

    def _pull_source(self) -> str:
        """Fill a source's row that is inserted after the target's with the target's values: the new writer's win."""
        return self._pull("pull_source", self.target, self.target_key, self.source_key, dict(self.columns), always=True)

    def _pull(
        self, part: str, other: Table, other_key: str, own_key: str, columns: dict[str, str], *, always: bool = False
    ) -> str:
        names = ", ".join(f"o.{quote(name)}" for name in columns.values())
        lines = [
            f"    NEW.{quote(own)} := r.{quote(there)};"
            if always
            else f"    IF NEW.{quote(own)} IS NULL THEN NEW.{quote(own)} := r.{quote(there)}; END IF;"
            for own, there in columns.items()
        ]
        some = " OR ".join(f"r.{quote(there)} IS NOT NULL" for there in columns.values())
        body = "\n".join(
            [
                "DECLARE r record;",
                "BEGIN",
                f"  SELECT {names} INTO r FROM {table_name(other)} o WHERE "
                f"{self._same_key(f'o.{quote(other_key)}', f'NEW.{quote(own_key)}')};",
                f"  IF FOUND AND ({some}) THEN",
                *lines,
                "  END IF;",
                "  RETURN NEW;",
                "END",
            ]
        )
        return function(function_name(self.key, part), body, more=_AS_MAKER)

    def _names(self) -> dict[str, str]:
        """Return the triggers' names.

        Those AFTER a write fire before the application's own: one that writes the row again would otherwise be synced
        first, and then what it replaced.
        """
        after = ("to_target_i", "to_target_u", "to_source_i", "to_source_u", "to_source_d")
        before = ("old_gate", "new_gate", "first_s", "first_t")
        return {part: name_for(FIRST if part in after else LAST, self.key, part) for part in (*after, *before)}

    def _drop_triggers(self, *, target_gone: bool = False) -> tuple[str, ...]:
        names = self._names()
        of_source = ("old_gate", "to_target_i", "to_target_u", "first_s")
        source = [f"DROP TRIGGER IF EXISTS {quote(names[part])} ON {table_name(self.source)}" for part in of_source]
        if target_gone:
            return tuple(source)
        of_target = ("new_gate", "to_source_i", "to_source_u", "to_source_d", "first_t")
        return (
            *source,
            *(f"DROP TRIGGER IF EXISTS {quote(names[part])} ON {table_name(self.target)}" for part in of_target),
        )

    def _triggers(self) -> Iterable[str]:
        names, when = self._names(), silent(self.key)
        source, target = table_name(self.source), table_name(self.target)
        old = ", ".join(quote(name) for name in self.columns)
        new = ", ".join(quote(name) for name in self.columns.values())

        def changed(columns: Iterable[str]) -> str:
            return " OR ".join(f"OLD.{quote(name)} IS DISTINCT FROM NEW.{quote(name)}" for name in columns)

        def trigger(name: str, event: str, table: str, part: str, condition: str, *, each: str = "ROW") -> str:
            made = f"CREATE TRIGGER {quote(names[name])} {event} ON {table} FOR EACH {each} WHEN ({condition})"
            return f"{made} EXECUTE FUNCTION {function_name(self.key, part)}()"

        yield trigger("old_gate", f"BEFORE UPDATE OF {old}", source, "gate_old", when, each="STATEMENT")
        yield trigger(
            "new_gate", f"BEFORE INSERT OR DELETE OR UPDATE OF {new}", target, "gate_new", when, each="STATEMENT"
        )
        yield trigger("to_target_i", "AFTER INSERT", source, "to_target", when)
        yield trigger("to_target_u", "AFTER UPDATE", source, "to_target", f"{when} AND ({changed(self.columns)})")
        yield trigger("to_source_i", "AFTER INSERT", target, "to_source", when)
        yield trigger(
            "to_source_u", "AFTER UPDATE", target, "to_source", f"{when} AND ({changed(self.columns.values())})"
        )
        yield trigger("to_source_d", "AFTER DELETE", target, "to_source", when)
        if self.creates:
            yield trigger("first_t", "BEFORE INSERT", target, "replace", when)
        else:
            yield trigger("first_t", "BEFORE INSERT", target, "pull_target", when)
            yield trigger("first_s", "BEFORE INSERT", source, "pull_source", when)
