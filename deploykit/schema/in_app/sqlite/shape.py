"""A SQLite table as the text of its CREATE TABLE, and edits of that text.

SQLite keeps `CREATE TABLE` word by word and can alter little of it. An edit of the text preserves everything else as
written: collations, checks, conflict clauses. Each edit returns its inverse, so the way back restores the original.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..changes.model import Refused
from ..changes.sql import quote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ColumnText", "Edit", "Shape", "column_name"]

Edit = list[Any]
"""The name of an edit and its arguments, as plain JSON values."""

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*(?:\n|$)|/\*.*?\*/)|(?P<string>'(?:[^']|'')*')"""
    r"""|(?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])"""
    r"""|(?P<word>[^\W\d]\w*)|(?P<number>\d[\w.]*)|(?P<other>.)""",
    re.DOTALL,
)
_CONSTRAINTS = {"constraint", "primary", "unique", "check", "foreign"}


def _tokens(text: str) -> list[tuple[str, str]]:
    return [(str(match.lastgroup), match.group()) for match in _TOKEN.finditer(text)]


def _plain(kind: str, text: str) -> str:
    """Return a name without its quotes."""
    if kind == "quoted":
        return text[1:-1].replace(text[-1] * 2, text[-1])
    return text


@dataclass
class Shape:
    """A table.

    `items` are the columns and constraints between the parentheses; `tail` follows them (STRICT, WITHOUT ROWID).
    """

    name: str
    items: list[str]
    tail: str = ""
    indexes: list[str] = field(default_factory=list)
    triggers: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    """Values of columns that are new in this shape: SQL over the row as it was."""

    @classmethod
    def parse(cls, name: str, sql: str, indexes: Sequence[str] = (), triggers: Sequence[str] = ()) -> Shape:
        depth, items, current, tail, opened = 0, [], "", "", False
        for kind, text in _tokens(sql):
            if kind == "other" and text in "()":
                depth += 1 if text == "(" else -1
                if depth == 1 and text == "(" and not opened:
                    opened = True
                    continue
                if depth == 0 and text == ")":
                    items.append(current.strip())
                    current = ""
                    continue
            if not opened:
                continue
            if depth == 0:
                tail += text
            elif depth == 1 and text == ",":
                items.append(current.strip())
                current = ""
            elif text.startswith("--"):
                current += "\n"  # what follows would be part of the comment, once the lines are joined
            else:
                current += text
        return cls(name, items, tail.strip(), list(indexes), list(triggers))

    def sql(self, name: str) -> str:
        inner = ",\n  ".join(self.items)
        return f"CREATE TABLE {quote(name)} (\n  {inner}\n){' ' + self.tail if self.tail else ''}"

    def columns(self) -> list[str]:
        return [name for item in self.items if (name := column_name(item))]

    def item(self, column: str) -> str:
        """Return the text of a column. Raises Refused when there is none."""
        for item in self.items:
            if column_name(item).lower() == column.lower():
                return item
        raise Refused(f"{self.name} has no column {column}", f"it has: {', '.join(self.columns())}")

    def stored(self) -> list[str]:
        """Return the columns that store a value, and so are copied; generated ones are computed."""
        return [name for name in self.columns() if not self.column(name).has("generated")]

    def column(self, name: str) -> ColumnText:
        return ColumnText.parse(self.item(name))

    def constraint(self, name: str) -> str:
        for item in self.items:
            words = _significant(item)
            if words[0][1].lower() == "constraint" and _plain(*words[1]).lower() == name.lower():
                return item
        raise Refused(
            f"{self.name} has no constraint {name}", "a constraint without a name can only be dropped by hand"
        )

    def index(self, name: str) -> str:
        for sql in self.indexes:
            if index_name(sql).lower() == name.lower():
                return sql
        raise Refused(
            f"{self.name} has no index {name}", f"it has: {', '.join(map(index_name, self.indexes)) or 'none'}"
        )

    # Edits: each returns its inverse.

    def apply(self, edit: Edit) -> Edit:
        what, *arguments = edit
        inverse: Edit = getattr(self, f"_{what}")(*arguments)
        return inverse

    def _add(self, text: str, value: str = "") -> Edit:
        """Add a column after the last one, with its value in existing rows; or a constraint at the end."""
        name = column_name(text)
        if name and value:
            self.values[name] = value
        if name and name.lower() in [each.lower() for each in self.columns()]:
            raise Refused(f"{self.name} has a column {name} already", "choose another name")
        place = len(self.columns()) if name else len(self.items)
        self.items.insert(place, text)
        return ["remove", text]

    def _remove(self, text: str) -> Edit:
        if text not in self.items:
            raise Refused(f"{self.name} is not as it was left: it has no {text}", "undo what was changed by hand")
        place = self.items.index(text)
        del self.items[place]
        return ["insert", [[place, text]], []]

    def _insert(self, items: list[list[Any]], indexes: list[str]) -> Edit:
        for place, text in items:
            self.items.insert(min(place, len(self.items)), text)
        self.indexes += indexes
        return ["take", [text for _, text in items], indexes]

    def _take(self, items: list[str], indexes: list[str]) -> Edit:
        placed = [[self.items.index(text), text] for text in items]
        for text in items:
            self.items.remove(text)
        for sql in indexes:
            self.indexes.remove(sql)
        return ["insert", placed, indexes]

    def _drop(self, column: str) -> Edit:
        """Drop the column, and the constraints and indexes that name it."""
        gone = [self.item(column), *(item for item in self.items if not column_name(item) and names(item, column))]
        return self._take(gone, [sql for sql in self.indexes if names(sql, column)])

    def _set(self, column: str, text: str) -> Edit:
        before = self.item(column)
        self.items[self.items.index(before)] = text
        return ["set", column_name(text), before]

    def _point(self, renamed: Mapping[str, str]) -> Edit:
        """Let constraints, indexes and generated columns name other columns from now on."""
        self.items = [_pointed(item, renamed) for item in self.items]
        self.indexes = [rename(sql, renamed) for sql in self.indexes]
        return ["point", {new: old for old, new in renamed.items()}]


def _pointed(item: str, renamed: Mapping[str, str]) -> str:
    name = column_name(item)
    if not name:
        return rename(item, renamed)
    text = ColumnText.parse(item)
    if name in {*renamed, *renamed.values()} or not (text.has("generated") or text.has("check")):
        return item
    inner = {"generated", "check"}
    clauses = tuple((what, rename(said, renamed) if what in inner else said) for what, said in text.clauses)
    return ColumnText(text.name, text.type, clauses).sql()


def _significant(text: str) -> list[tuple[str, str]]:
    return [token for token in _tokens(text) if token[0] != "space"]


def column_name(item: str) -> str:
    """Return the column that the item defines; empty for a constraint."""
    kind, text = _significant(item)[0]
    return "" if kind == "word" and text.lower() in _CONSTRAINTS else _plain(kind, text)


def index_name(sql: str) -> str:
    words = _significant(sql)
    place = next(place for place, (_, text) in enumerate(words) if text.lower() == "index") + 1
    if words[place][1].lower() == "if":
        place += 3  # IF NOT EXISTS
    return _plain(*words[place])


def names(text: str, column: str) -> bool:
    """Whether a constraint or an index names the column; the names of the index and its table don't count."""
    text = text[text.index("(") :] if "(" in text else text
    return any(
        kind in {"word", "quoted"} and _plain(kind, word).lower() == column.lower() for kind, word in _tokens(text)
    )


def rename(text: str, renamed: Mapping[str, str]) -> str:
    lower = {old.lower(): new for old, new in renamed.items()}
    return "".join(
        quote(lower[_plain(kind, word).lower()])
        if kind in {"word", "quoted"} and _plain(kind, word).lower() in lower
        else word
        for kind, word in _tokens(text)
    )


@dataclass(frozen=True)
class ColumnText:
    """A column's text in parts. A clause is (kind, text): `("not null", "NOT NULL")`."""

    name: str
    type: str
    clauses: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, item: str) -> ColumnText:
        words = _significant(item)
        parts: list[tuple[str, str]] = [("type", "")]
        depth, place, named = 0, 0, False
        for kind, text in _tokens(item):
            if kind == "space":
                parts[-1] = (parts[-1][0], f"{parts[-1][1]} ")
                continue
            if place:
                if kind == "other" and text in "()":
                    depth += 1 if text == "(" else -1
                what = _clause(words, place) if depth == 0 and kind == "word" else ""
                if what and not named:
                    parts.append((what, ""))
                elif what:
                    parts[-1] = (what, parts[-1][1])  # CONSTRAINT name, and now what it is
                named = what == "constraint" or (named and not what)
                parts[-1] = (parts[-1][0], parts[-1][1] + text)
            place += 1
        return cls(_plain(*words[0]), parts[0][1].strip(), tuple((what, text.strip()) for what, text in parts[1:]))

    def without(self, *kinds: str) -> ColumnText:
        return ColumnText(self.name, self.type, tuple(item for item in self.clauses if item[0] not in kinds))

    def renamed(self, renamed: Mapping[str, str]) -> ColumnText:
        clauses = tuple((what, rename(text, renamed)) for what, text in self.clauses)
        return ColumnText(renamed.get(self.name, self.name), self.type, clauses)

    def has(self, kind: str) -> bool:
        return any(what == kind for what, _ in self.clauses)

    def clause(self, kind: str) -> str:
        return next((text for what, text in self.clauses if what == kind), "")

    def sql(self, *more: str) -> str:
        return " ".join(filter(None, [quote(self.name), self.type, *(text for _, text in self.clauses), *more]))


_CLAUSES = {
    "constraint": "constraint",
    "primary": "primary key",
    "unique": "unique",
    "check": "check",
    "default": "default",
    "collate": "collate",
    "references": "references",
    "generated": "generated",
    "as": "generated",
    "null": "null",
}


def _clause(tokens: Sequence[tuple[str, str]], place: int) -> str:
    """Return which clause of a column begins at this word; empty when a clause continues."""
    word, before = tokens[place][1].lower(), tokens[place - 1][1].lower()
    after = tokens[place + 1][1].lower() if place + 1 < len(tokens) else ""
    if word == "not":
        return "not null" if after == "null" else ""
    if before in {"set", "not", "generated", "always"} and word in {"null", "default", "as"}:
        return ""  # ON DELETE SET NULL, NOT NULL, GENERATED ALWAYS AS
    return _CLAUSES.get(word, "")
