"""Names, literals and expressions of PostgreSQL as text."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from ..tokens import TOKEN
from .model import Refused, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["bind", "literal", "name_for", "names_in", "one_statement", "quote", "rename_in", "replace_in", "table_name"]

_LONGEST = 63
"""NAMEDATALEN - 1: PostgreSQL truncates longer names, and two truncated names may collide."""


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def table_name(table: Table) -> str:
    return f"{quote(table.schema)}.{quote(table.name)}"


def literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    body = text.replace("'", "''")
    return "E'" + body.replace("\\", "\\\\") + "'" if "\\" in text else f"'{body}'"


def name_for(*parts: str) -> str:
    """Return a name of at most 63 bytes made of the parts; a truncated one ends with a digest, to stay unique."""
    name = "_".join(part for part in parts if part)
    if len(name.encode()) <= _LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name.encode()[: _LONGEST - 9].decode(errors='ignore')}_{digest}"


def bind(expression: str, columns: Iterable[str], prefix: str) -> str:
    """Put `prefix.` before each name that is one of the columns: `price / 100` -> `NEW."price" / 100`.

    A name before `(` is a function, and one next to a `.` already has a qualifier: both stay unchanged.
    """
    known = set(columns)
    return _rewrite(expression, lambda name: f"{prefix}.{quote(name)}" if name in known else None)


def rename_in(expression: str, names: Mapping[str, str]) -> str:
    """Replace column names in the expression by others."""
    return _rewrite(expression, lambda name: quote(names[name]) if name in names else None)


def replace_in(expression: str, values: Mapping[str, str]) -> str:
    """Replace column names in the expression by SQL."""
    return _rewrite(expression, values.get)


def names_in(expression: str, columns: Iterable[str]) -> tuple[str, ...]:
    """Return the columns that the expression names, each once, in their order of appearance."""
    known, found = set(columns), dict[str, None]()

    def note(name: str) -> str | None:
        if name in known:
            found[name] = None
        return None

    _rewrite(expression, note)
    return tuple(found)


def _rewrite(expression: str, change: Callable[[str], str | None]) -> str:
    tokens = list(_tokens(expression))
    made: list[str] = []
    for place, (kind, text) in enumerate(tokens):
        new = None
        if kind in {"word", "quoted"} and not _belongs(tokens, place, kind):
            name = text[1:-1].replace('""', '"') if kind == "quoted" else text.lower()
            new = change(name)
        made.append(text if new is None else new)
    return "".join(made)


def _belongs(tokens: list[tuple[str, str]], place: int, kind: str) -> bool:
    before = _neighbour(tokens, range(place - 1, -1, -1))
    after = _neighbour(tokens, range(place + 1, len(tokens)))
    return before in {".", ":"} or after == "." or (after == "(" and kind == "word")


def _neighbour(tokens: list[tuple[str, str]], places: range) -> str:
    for place in places:
        kind, text = tokens[place]
        if kind != "space":
            return text
    return ""


def _tokens(text: str) -> Iterable[tuple[str, str]]:
    place = 0
    while place < len(text):
        match = TOKEN.match(text, place)
        if match is None or match.lastgroup is None:
            raise Refused(f"the expression can't be read: {text}")
        kind, word = match.lastgroup, match.group()
        if kind == "comment":
            raise Refused(f"an expression has no comments: {text}", "take the comment out")
        if kind == "dollar":
            end = text.find(word, match.end())
            if end < 0:
                raise Refused(f"the expression has no end: {text}")
            kind, word = "string", text[place : end + len(word)]
        yield kind, word
        place += len(word)


def one_statement(text: str) -> str:
    """Return the statement without the semicolon at its end."""
    return re.sub(r"[\s;]+\Z", "", text.strip())
