"""The words of a piece of SQL. It recognises strings, comments and dollar-quoted bodies, and nothing beyond that."""

from __future__ import annotations

import re

__all__ = ["TOKEN", "Token", "split", "tokens", "top_level", "type_of"]

TOKEN = re.compile(
    r"""
      (?P<space>\s+|--[^\n]*)
    | (?P<comment>/\*)
    | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][\w]*)?\$)
    | (?P<escaped>[eE]'(?:[^'\\]|\\.|'')*')
    | (?P<string>(?:[nNbBxX]|[uU]&)?'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`)
    | (?P<word>[A-Za-z_\x80-\U0010ffff][\w$]*)
    | (?P<number>\d[\w.]*)
    | (?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


class Token:
    """A word. `text` is in upper case for a bare word, and unchanged for all else; `name` is it as an identifier."""

    __slots__ = ("kind", "name", "text")

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        self.text = text.upper() if kind == "word" else text
        self.name = text[1:-1].replace(text[0] * 2, text[0]) if kind == "quoted" else text.lower()


def tokens(sql: str) -> list[Token]:
    """Return the words of the text, without space and comments. A dollar-quoted body is one token of kind `body`."""
    found: list[Token] = []
    at = 0
    while at < len(sql):
        match = TOKEN.match(sql, at)
        if match is None:  # the last alternative takes any character
            break
        kind, at = str(match.lastgroup), match.end()
        if kind == "comment":
            at = _comment_end(sql, at)
        elif kind == "dollar":
            end = sql.find(match.group(), at)
            end = len(sql) if end < 0 else end
            found.append(Token("body", sql[at:end]))
            at = end + len(match.group())
        elif kind != "space":
            found.append(Token(kind, match.group()))
    return found


def _comment_end(sql: str, at: int) -> int:
    depth = 1
    for edge in _COMMENT_EDGE.finditer(sql, at):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(sql)


def split(words: list[Token]) -> list[list[Token]]:
    """Split at the commas outside brackets."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for word in words:
        if word.kind == "sign":
            depth += {"(": 1, ")": -1, "[": 1, "]": -1}.get(word.text, 0)
            if word.text == "," and depth == 0:
                parts.append([])
                continue
        parts[-1].append(word)
    return parts


def top_level(words: list[Token]) -> list[Token]:
    found, depth = [], 0
    for word in words:
        if word.kind == "sign" and word.text in "()":
            depth += 1 if word.text == "(" else -1
        elif depth == 0:
            found.append(word)
    return found


def type_of(words: list[Token]) -> str:
    text = ""
    for word in words:
        if word.text in {"USING", "COLLATE"} and word.kind == "word":
            break
        text += (" " if text and word.kind == "word" else "") + word.text
    return text
