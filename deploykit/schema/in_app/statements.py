"""What a piece of SQL does to tables, told from its words alone.

It knows the statements that migrations are made of; of any other it says `unknown`, so that nothing passes for safe
merely because it was not understood.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .tokens import Token, split, tokens, top_level, type_of

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
_TABLE_ATTRIBUTES = frozenset(
    {"VALIDATE", "OWNER", "ENABLE", "DISABLE", "SET", "RESET", "CLUSTER", "REPLICA", "INHERIT", "ATTACH", "FORCE", "NO"}
)


def classify(sql: str) -> list[dict[str, Any]]:
    """What each statement in the text does, in order; `kind` is `unknown` where that can't be told."""
    found: list[dict[str, Any]] = []
    statement: list[Token] = []
    for token in [*tokens(sql), Token("sign", ";")]:
        if token.text != ";" or token.kind != "sign":
            statement.append(token)
            continue
        if statement:
            found += _Statement(statement).operations()
        statement = []
    return found


class _Statement:
    def __init__(self, words: list[Token]) -> None:
        self.words = words
        self.at = 0

    def operations(self) -> list[dict[str, Any]]:
        first = self.words[0]
        verb = first.text if first.kind == "word" else ""
        if verb in _HARMLESS:
            return [{"kind": "other", "table": None, "schema": None}]
        if verb in _DATA:
            return [{"kind": "data", "table": None, "schema": None}]
        rules: dict[str, Callable[[], list[dict[str, Any]]]] = {
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

    # -- reading

    def peek(self, ahead: int = 0) -> str:
        token = self.words[self.at + ahead] if self.at + ahead < len(self.words) else None
        return token.text if token is not None and token.kind in {"word", "sign"} else ""

    def take(self, *wanted: str) -> bool:
        """Step over these words if all of them come next."""
        if all(self.peek(index) == word for index, word in enumerate(wanted)):
            self.at += len(wanted)
            return True
        return False

    def take_any(self, *wanted: str) -> str:
        word = self.peek()
        if word in wanted:
            self.at += 1
            return word
        return ""

    def name(self) -> dict[str, Any]:
        """A name that may have a schema (and a database) in front, as `table` and `schema`."""
        parts = []
        while self.at < len(self.words) and self.words[self.at].kind in {"word", "quoted"}:
            parts.append(self.words[self.at].name)
            self.at += 1
            if not self.take("."):
                break
        return {"table": parts[-1] if parts else None, "schema": parts[-2] if len(parts) > 1 else None}

    def identifier(self) -> str:
        token = self.words[self.at] if self.at < len(self.words) else None
        self.at += 1
        return token.name if token is not None and token.kind in {"word", "quoted"} else ""

    def rest(self) -> list[Token]:
        return self.words[self.at :]

    def unknown(self) -> list[dict[str, Any]]:
        text = " ".join(word.text if word.kind not in {"body", "string", "escaped"} else "'…'" for word in self.words)
        return [
            {"kind": "unknown", "table": None, "schema": None, "sql": text if len(text) <= 200 else f"{text[:200]}…"}
        ]

    # -- statements

    def create(self) -> list[dict[str, Any]]:
        self.take("OR", "REPLACE")
        while self.take_any("GLOBAL", "LOCAL", "TEMP", "TEMPORARY", "UNLOGGED", "FOREIGN", "MATERIALIZED", "RECURSIVE", "CONSTRAINT", "EVENT", "VIRTUAL", "TRUSTED", "DEFAULT"):  # fmt: skip
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

    def drop(self) -> list[dict[str, Any]]:
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

    def names(self) -> list[dict[str, Any]]:
        found = [self.name()]
        while self.take(","):
            found.append(self.name())
        return found

    def truncate(self) -> list[dict[str, Any]]:
        self.take("TABLE")
        found = []
        while True:
            self.take("ONLY")
            found.append({"kind": "truncate", **self.name()})
            self.take("*")
            if not self.take(","):
                return found

    def rename_tables(self) -> list[dict[str, Any]]:
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

    def select(self) -> list[dict[str, Any]]:
        """Reading changes nothing, unless a function is called that does."""
        words = self.words
        for word, following in zip(words, [*words[1:], Token("sign", "")]):  # noqa: B905 - `strict` is newer than some applications' Python
            calls = following.text == "(" and following.kind == "sign"
            if word.kind == "quoted" and calls:
                return []
            if word.kind == "word" and calls and word.text not in _PURE_FUNCTIONS | _KEYWORDS_BEFORE_BRACKET:
                return []
            if word.kind == "word" and word.text == "INTO":
                return []
        return [{"kind": "other", "table": None, "schema": None}]

    def common_table(self) -> list[dict[str, Any]]:
        if any(word.kind == "word" and word.text in _DATA for word in self.words):
            return [{"kind": "data", "table": None, "schema": None}]
        return self.select()

    def block(self) -> list[dict[str, Any]]:
        """`DO $$ … $$`: harmless when no word in it could take something away or run text as SQL."""
        bodies = [word.text for word in self.rest() if word.kind in {"body", "string", "escaped"}]
        for body in bodies:
            words = {word.text for word in tokens(body.strip("'")) if word.kind == "word"}
            if words & {"ALTER", "CALL", "DROP", "EXECUTE", "PERFORM", "RENAME", "SELECT", "TRUNCATE"}:
                return []
        return [{"kind": "other", "table": None, "schema": None}] if bodies else []

    # -- ALTER

    def alter(self) -> list[dict[str, Any]]:
        self.take("FOREIGN")
        self.take("MATERIALIZED")
        what = self.peek()
        self.at += 1
        self.take("IF", "EXISTS")
        if what == "TABLE":
            return self.alter_table()
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

    def alter_table(self) -> list[dict[str, Any]]:
        self.take("ONLY")
        table = self.name()
        self.take("*")
        if table["table"] is None:
            return []
        found: list[dict[str, Any]] = []
        for action in split(self.rest()):
            described = _Statement(action).action(table) if action else []
            if not described:
                return []
            found += described
        return found

    def action(self, table: dict[str, Any]) -> list[dict[str, Any]]:  # noqa: PLR0911 - one for each action
        """One action of an ALTER TABLE; nothing when it is not known."""
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
            found: list[dict[str, Any]] = [
                {"kind": "alter_type", **table, "column": column, "type": "", "existing_type": None}
            ]
            if changes and (new := self.identifier()) != column:
                found.insert(0, {"kind": "rename_column", **table, "column": column, "to": new})
            return found
        if self.peek() in _TABLE_ATTRIBUTES:
            return [{"kind": "other", **table}]
        return []

    def add(self, table: dict[str, Any]) -> list[dict[str, Any]]:
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

    def drop_part(self, table: dict[str, Any]) -> list[dict[str, Any]]:
        if self.peek() in {"CONSTRAINT", "PRIMARY", "FOREIGN", "INDEX", "KEY", "CHECK"} and self.peek(1):
            return [{"kind": "drop_constraint", **table}]
        self.take("COLUMN")
        self.take("IF", "EXISTS")
        return [{"kind": "drop_column", **table, "column": self.identifier()}]

    def alter_part(self, table: dict[str, Any]) -> list[dict[str, Any]]:
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

    def rename(self, table: dict[str, Any]) -> list[dict[str, Any]]:
        if self.take("CONSTRAINT") or self.peek() in {"INDEX", "KEY"}:
            return [{"kind": "other", **table}]
        if self.take("TO") or self.take("AS"):
            return [{"kind": "rename_table", **table, "to": self.identifier()}]
        self.take("COLUMN")
        column = self.identifier()
        return (
            [{"kind": "rename_column", **table, "column": column, "to": self.identifier()}] if self.take("TO") else []
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
