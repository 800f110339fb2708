"""Classifies SQL by its words: what each statement does to tables.

It knows the statements that migrations consist of. Any other is `unknown`, so that nothing passes as safe merely
because it was not understood.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .alter_table import AlterTable
from .statement_reader import Operation, StatementReader
from .tokens import Token, tokens

if TYPE_CHECKING:
    from collections.abc import Callable

_HARMLESS = frozenset(
    {
        "ANALYZE",
        "BEGIN",
        "CHECKPOINT",
        "CLUSTER",
        "COMMENT",
        "COMMIT",
        "DEALLOCATE",
        "DISCARD",
        "EXPLAIN",
        "GRANT",
        "LISTEN",
        "LOCK",
        "NOTIFY",
        "PRAGMA",
        "REFRESH",
        "REINDEX",
        "RELEASE",
        "RESET",
        "ROLLBACK",
        "SAVEPOINT",
        "SECURITY",
        "SET",
        "SHOW",
        "START",
        "UNLISTEN",
        "USE",
        "VACUUM",
        "VALUES",
    }
)
_DATA = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "COPY"})
_CREATED = frozenset(
    {
        "AGGREGATE",
        "CAST",
        "COLLATION",
        "DATABASE",
        "DOMAIN",
        "EXTENSION",
        "FUNCTION",
        "OPERATOR",
        "POLICY",
        "PROCEDURE",
        "PUBLICATION",
        "ROLE",
        "RULE",
        "SCHEMA",
        "SEQUENCE",
        "SERVER",
        "STATISTICS",
        "SUBSCRIPTION",
        "TRIGGER",
        "TYPE",
        "USER",
        "VIEW",
    }
)
_PURE_FUNCTIONS = frozenset(
    {
        "SETVAL",
        "NEXTVAL",
        "CURRVAL",
        "SET_CONFIG",
        "CURRENT_SETTING",
        "MAX",
        "MIN",
        "COUNT",
        "SUM",
        "COALESCE",
        "GREATEST",
        "LEAST",
        "NOW",
        "PG_GET_SERIAL_SEQUENCE",
        "VERSION",
        "PG_SLEEP",
        "LOWER",
        "UPPER",
    }
)
_KEYWORDS_BEFORE_BRACKET = frozenset(
    {
        "SELECT",
        "FROM",
        "WHERE",
        "AND",
        "OR",
        "NOT",
        "IN",
        "EXISTS",
        "ANY",
        "ALL",
        "SOME",
        "AS",
        "ON",
        "USING",
        "OVER",
        "UNION",
        "INTERSECT",
        "EXCEPT",
        "BY",
        "JOIN",
        "VALUES",
        "WITH",
    }
)


def classify(sql: str) -> list[Operation]:
    """Classify each statement of the text, in order; `kind` is `unknown` where that is impossible."""
    found: list[Operation] = []
    statement: list[Token] = []
    for token in [*tokens(sql), Token("sign", ";")]:
        if token.text != ";" or token.kind != "sign":
            statement.append(token)
            continue
        if statement:
            found += _Statement(statement).operations()
        statement = []
    return found


class _Statement(StatementReader):
    def operations(self) -> list[Operation]:
        first = self.words[0]
        verb = first.text if first.kind == "word" else ""
        if verb in _HARMLESS:
            return [{"kind": "other", "table": None, "schema": None}]
        if verb in _DATA:
            return [{"kind": "data", "table": None, "schema": None}]
        rules: dict[str, Callable[[], list[Operation]]] = {
            "ALTER": self.alter,
            "CREATE": self.create,
            "DO": self.block,
            "DROP": self.drop,
            "RENAME": self.rename_tables,
            "SELECT": self.select,
            "TRUNCATE": self.truncate,
            "WITH": self.common_table,
        }
        self.at = 1
        found = rules[verb]() if verb in rules else []
        return found or self.unknown()

    def create(self) -> list[Operation]:
        self.take("OR", "REPLACE")
        while self.take_any(
            "GLOBAL",
            "LOCAL",
            "TEMP",
            "TEMPORARY",
            "UNLOGGED",
            "FOREIGN",
            "MATERIALIZED",
            "RECURSIVE",
            "CONSTRAINT",
            "EVENT",
            "VIRTUAL",
            "TRUSTED",
            "DEFAULT",
        ):
            pass
        if self.take("TABLE"):
            guarded = self.take("IF", "NOT", "EXISTS")
            return [{"kind": "create_table", **self.name(), "if_not_exists": guarded}]
        unique = self.take("UNIQUE")
        if self.take("INDEX"):
            self.take("CONCURRENTLY")
            self.take("IF", "NOT", "EXISTS")
            if self.peek() != "ON":
                self.name()
            self.take("ON")
            self.take("ONLY")
            return [{"kind": "create_index", **self.name()}]
        if not unique and self.peek() in _CREATED:
            if self.peek() == "SCHEMA" and {"TABLE", "INDEX", "VIEW"} & {word.text for word in self.rest()}:
                return []
            return [{"kind": "create_object", "table": None, "schema": None}]
        return []

    def drop(self) -> list[Operation]:
        self.take("MATERIALIZED")
        self.take("FOREIGN")
        what = self.peek()
        self.at += 1
        self.take("CONCURRENTLY")
        self.take("IF", "EXISTS")
        kinds = {"TABLE": "drop_table", "VIEW": "drop_view", "SCHEMA": "drop_schema", "DATABASE": "drop_schema"}
        cascades = any(word.kind == "word" and word.text == "CASCADE" for word in self.rest())
        if what in kinds:
            return [{"kind": kinds[what], **name} for name in self.names()]
        if what == "OWNED" or cascades:
            return []  # what hangs on it goes too, and that can be columns
        objects = {*_CREATED, "INDEX", "EVENT", "ACCESS", "TEXT", "TRANSFORM", "LANGUAGE", "ROUTINE"}
        return [{"kind": "drop_index" if what == "INDEX" else "drop_object", **self.name()}] if what in objects else []

    def truncate(self) -> list[Operation]:
        self.take("TABLE")
        found = []
        while True:
            self.take("ONLY")
            found.append({"kind": "truncate", **self.name()})
            self.take("*")
            if not self.take(","):
                return found

    def rename_tables(self) -> list[Operation]:
        """`RENAME TABLE a TO b, c TO d`, as MySQL has it."""
        if not self.take("TABLE"):
            return []
        found = []
        while True:
            table = self.name()
            if not self.take("TO"):
                return []
            found.append({"kind": "rename_table", **table, "to": self.name()["table"]})
            if not self.take(","):
                return found

    def select(self) -> list[Operation]:
        """Classify a SELECT: it changes nothing, unless it calls a function that does."""
        words = self.words
        # `strict` is newer than the Python of some applications.
        for word, following in zip(words, [*words[1:], Token("sign", "")]):  # noqa: B905
            calls = following.text == "(" and following.kind == "sign"
            if word.kind == "quoted" and calls:
                return []
            if word.kind == "word" and calls and word.text not in _PURE_FUNCTIONS | _KEYWORDS_BEFORE_BRACKET:
                return []
            if word.kind == "word" and word.text == "INTO":
                return []
        return [{"kind": "other", "table": None, "schema": None}]

    def common_table(self) -> list[Operation]:
        if any(word.kind == "word" and word.text in _DATA for word in self.words):
            return [{"kind": "data", "table": None, "schema": None}]
        return self.select()

    def block(self) -> list[Operation]:
        """Classify `DO $$ … $$`: harmless when no word in it could drop something or run text as SQL."""
        bodies = [word.text for word in self.rest() if word.kind in {"body", "string", "escaped"}]
        for body in bodies:
            words = {word.text for word in tokens(body.strip("'")) if word.kind == "word"}
            if words & {"ALTER", "CALL", "DROP", "EXECUTE", "PERFORM", "RENAME", "SELECT", "TRUNCATE"}:
                return []
        return [{"kind": "other", "table": None, "schema": None}] if bodies else []

    def alter(self) -> list[Operation]:
        self.take("FOREIGN")
        self.take("MATERIALIZED")
        what = self.peek()
        self.at += 1
        self.take("IF", "EXISTS")
        if what == "TABLE":
            return AlterTable(self.rest()).operations()
        name = self.name()
        words = [word.text for word in self.rest() if word.kind == "word"]
        if what in {"VIEW", "SCHEMA", "DATABASE", "TYPE", "DOMAIN"} and "RENAME" in words:
            return [{"kind": "rename_table" if what == "VIEW" else "rename_object", **name}]
        if what == "TYPE" and words[:2] == ["ADD", "VALUE"]:
            return [{"kind": "other", **name}]
        if what in {"TYPE", "DOMAIN", "VIEW"} and words[:1] != ["OWNER"]:
            return []
        harmless = {
            "INDEX",
            "SEQUENCE",
            "FUNCTION",
            "ROLE",
            "USER",
            "SYSTEM",
            "EXTENSION",
            "TRIGGER",
            "SCHEMA",
            "DATABASE",
        }
        harmless |= {"DEFAULT", "PUBLICATION", "STATISTICS", "POLICY", "PROCEDURE", "TYPE", "DOMAIN", "VIEW"}
        return [{"kind": "other", **name}] if what in harmless else []
