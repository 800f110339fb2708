"""The input of a plan: the server's version, and its tables, each read once."""

from __future__ import annotations

from .catalog import Asking, Relation, read_relation, server_version
from .model import Change, Table
from .sql import literal, table_name

__all__ = ["SchemaReader"]


class SchemaReader:
    def __init__(self, ask: Asking) -> None:
        self.ask = ask
        self.version = server_version(ask)
        self._relations: dict[Table, Relation] = {}

    def relation(self, table: Table) -> Relation:
        if table not in self._relations:
            self._relations[table] = read_relation(self.ask, table)
        return self._relations[table]

    def of(self, change: Change) -> Relation:
        return self.relation(Table(change.table, change.schema))

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
