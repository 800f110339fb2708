"""What the actions of an ALTER TABLE do, on PostgreSQL, SQLite and MySQL."""

from __future__ import annotations

from .statement_reader import Operation, StatementReader
from .tokens import split, top_level, type_of

__all__ = ["AlterTable"]

_TABLE_ATTRIBUTES = frozenset(
    {"VALIDATE", "OWNER", "ENABLE", "DISABLE", "SET", "RESET", "CLUSTER", "REPLICA", "INHERIT", "ATTACH", "FORCE", "NO"}
)


class AlterTable(StatementReader):
    """Reads what follows ALTER TABLE."""

    def operations(self) -> list[Operation]:
        self.take("ONLY")
        table = self.name()
        self.take("*")
        if table["table"] is None:
            return []
        found: list[Operation] = []
        for action in split(self.rest()):
            described = AlterTable(action).action(table) if action else []
            if not described:
                return []
            found += described
        return found

    def action(self, table: Operation) -> list[Operation]:  # noqa: PLR0911 - one for each action
        """Classify one action of an ALTER TABLE; an empty list means that it is not known."""
        if self.take("ADD"):
            return self.add(table)
        if self.take("DROP"):
            return self.drop_part(table)
        if self.take("ALTER", "CONSTRAINT"):
            return [{"kind": "other", **table}]
        if self.take("ALTER"):
            return self.alter_part(table)
        if self.take("RENAME"):
            return self.rename(table)
        if self.take("SET", "SCHEMA"):
            return [{"kind": "rename_table", **table, "to": self.identifier()}]
        if self.take("MODIFY") or self.peek() == "CHANGE":
            changes = self.take("CHANGE")
            self.take("COLUMN")
            column = self.identifier()
            found: list[Operation] = [
                {"kind": "alter_type", **table, "column": column, "type": "", "existing_type": None}
            ]
            if changes and (new := self.identifier()) != column:
                found.insert(0, {"kind": "rename_column", **table, "column": column, "to": new})
            return found
        if self.peek() in _TABLE_ATTRIBUTES:
            return [{"kind": "other", **table}]
        return []

    def add(self, table: Operation) -> list[Operation]:
        if not self.take("COLUMN") and self.peek() in {
            "CONSTRAINT",
            "PRIMARY",
            "UNIQUE",
            "FOREIGN",
            "CHECK",
            "EXCLUDE",
            "INDEX",
            "KEY",
        }:
            return [{"kind": "add_constraint", **table}]
        self.take("IF", "NOT", "EXISTS")
        column = self.identifier()
        words = [word.text for word in top_level(self.rest()) if word.kind in {"word", "sign"}]
        text = f" {' '.join(words)} "
        serial = words[:1] and words[0] in {"SERIAL", "BIGSERIAL", "SMALLSERIAL", "SERIAL4", "SERIAL8"}
        default = " DEFAULT " in text.replace(" BY DEFAULT ", " ") and " DEFAULT NULL " not in text
        return [
            {
                "kind": "add_column",
                **table,
                "column": column,
                "nullable": " NOT NULL " not in text and " PRIMARY KEY " not in text and not serial,
                "default": bool(default or serial or " GENERATED " in text or " AUTO_INCREMENT " in text),
                "type": words[0] if words else "",
            }
        ]

    def drop_part(self, table: Operation) -> list[Operation]:
        if self.peek() in {"CONSTRAINT", "PRIMARY", "FOREIGN", "INDEX", "KEY", "CHECK"} and self.peek(1):
            return [{"kind": "drop_constraint", **table}]
        self.take("COLUMN")
        self.take("IF", "EXISTS")
        return [{"kind": "drop_column", **table, "column": self.identifier()}]

    def alter_part(self, table: Operation) -> list[Operation]:
        self.take("COLUMN")
        column = {**table, "column": self.identifier()}
        for words, kind in (
            (("SET", "NOT", "NULL"), "set_not_null"),
            (("DROP", "NOT", "NULL"), "drop_not_null"),
            (("SET", "DEFAULT"), "set_default"),
            (("DROP", "DEFAULT"), "drop_default"),
        ):
            if self.take(*words):
                return [{"kind": kind, **column, "nullable": None} if "default" in kind else {"kind": kind, **column}]
        self.take("SET", "DATA")
        if self.take("TYPE"):
            return [{"kind": "alter_type", **column, "type": type_of(self.rest()), "existing_type": None}]
        return [{"kind": "other", **column}] if self.peek() in {"SET", "RESET", "ADD", "RESTART", "DROP"} else []

    def rename(self, table: Operation) -> list[Operation]:
        if self.take("CONSTRAINT") or self.peek() in {"INDEX", "KEY"}:
            return [{"kind": "other", **table}]
        if self.take("TO") or self.take("AS"):
            return [{"kind": "rename_table", **table, "to": self.identifier()}]
        self.take("COLUMN")
        column = self.identifier()
        return (
            [{"kind": "rename_column", **table, "column": column, "to": self.identifier()}] if self.take("TO") else []
        )
