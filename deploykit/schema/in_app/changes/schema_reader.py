"""The input of a plan: the server's version, and its tables, each read once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .catalog_queries import Asking, read_relation, server_version
from .model import Change, Refused, Table
from .sql import literal, quote, table_name

if TYPE_CHECKING:
    from .catalog import Relation

__all__ = ["SchemaReader"]


class SchemaReader:
    """Reads the tables of changes. Names without a schema are looked up as the connection does it.

    `search_path` has the schemas in which it does that, as SQL: those that exist, in their order.
    """

    def __init__(self, ask: Asking) -> None:
        self.ask = ask
        self.version = server_version(ask)
        schemas = ask.rows("SELECT current_schemas(false)::text[]")[0][0]
        self.search_path = ", ".join(map(quote, schemas))
        self._relations: dict[Table, Relation] = {}

    def relation(self, table: Table) -> Relation:
        if table not in self._relations:
            self._relations[table] = read_relation(self.ask, table)
        return self._relations[table]

    def of(self, change: Change) -> Relation:
        return self.named(change.table, change.schema)

    def named(self, name: str, schema: str) -> Relation:
        """Return the table that a declaration names. Raises Refused when there is none."""
        return self.relation(Table(name, schema) if schema else self._found(name))

    def _found(self, name: str) -> Table:
        found = self._lookup(name)
        if found is None:
            raise Refused(
                f"there is no table {name} in the search_path of this connection: {self.search_path or 'it is empty'}",
                "give its schema='…', or make it in an earlier revision",
            )
        return found

    def _lookup(self, name: str) -> Table | None:
        rows = self.ask.rows(
            "SELECT c.relname, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            f"WHERE c.oid = to_regclass({literal(quote(name))})"
        )
        return Table(rows[0][0], rows[0][1]) if rows else None

    def unused(self, name: str, change: Change, relation: Relation) -> Table:
        """Return a new table beside `relation`. Raises Refused when the name already stands for something.

        Without a schema it may also stand for a table of another one, which the application would go on to find.
        """
        table = Table(name, relation.table.schema)
        there = table if self.holds(f"SELECT to_regclass({literal(table_name(table))}) IS NOT NULL") else None
        if there := there or (None if change.schema else self._lookup(name)):
            raise Refused(f"there is already a {there}", "choose another name")
        return table

    def parts(self, relation: Relation) -> tuple[Relation, ...]:
        """Return the partitions of a partitioned table; empty for any other table."""
        if not relation.partitioned:
            return ()
        rows = self.ask.rows(
            "SELECT n.nspname, c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN "
            "pg_namespace n ON n.oid = c.relnamespace "
            f"WHERE i.inhparent = {literal(table_name(relation.table))}::regclass ORDER BY c.relname"
        )
        return tuple(self.relation(Table(row[1], row[0])) for row in rows)

    def holds(self, query: str) -> bool:
        return bool(self.ask.rows(query)[0][0])
