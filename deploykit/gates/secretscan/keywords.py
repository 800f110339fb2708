"""detect-secrets' keyword detector (`plugins/keyword.py`, Apache-2.0, after bandit's): `password = "…"` and its kin.

The expressions are its own, character by character. What is new is when they are tried: only in a line with one of the
words, and only those whose fixed characters occur in that line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.gates.secretscan.filetype import FileType

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["keyword_places", "keyword_values"]

_WORDS = (
    r"api_?key|auth_?key|service_?key|account_?key|db_?key|database_?key|priv_?key|private_?key|client_?key|db_?pass|"
    r"database_?pass|key_?pass|password|passwd|pwd|secret|contraseña|contrasena"
)
_PLACES = tuple(re.compile(word) for word in ("passw(?:or)?d", "pwd", "secret", "contrase[ñn]a"))
_ENDINGS = {
    "key": ("api", "auth", "service", "account", "db", "database", "priv", "private", "client"),
    "pass": ("db", "database", "key"),
}
_BEFORE = {word: tuple(f"{name}{sign}" for name in names for sign in ("", "_")) for word, names in _ENDINGS.items()}
_LONGEST = len("database_")

_CLOSING = r"[]\'\"]{0,2}"
_DENY = rf"({_WORDS})\w*"
_SECRET = r"(?=[^\v\'\"]*)(?=\w+)[^\v\'\"]*[^\v,\'\"`]"  # noqa: S105 - an expression
_QUOTE = r"[\'\"`]"


@dataclass(frozen=True, kw_only=True)
class _Form:
    """One way of writing an assignment. `needs`: for each, one of the characters must occur in the line."""

    regex: re.Pattern[str]
    group: int
    needs: tuple[str, ...]


def _form(pattern: str, group: int, *needs: str, flags: int = re.IGNORECASE) -> _Form:
    return _Form(regex=re.compile(pattern, flags), group=group, needs=needs)


_COLON_EQUAL = _form(rf"{_DENY}({_CLOSING})?\s*:=\s*({_QUOTE}?)({_SECRET})(\3)", 4, ":", "=")
_COLON = _form(rf"{_DENY}({_CLOSING})?:\s*({_QUOTE}?)({_SECRET})(\3)", 4, ":")
_COLON_QUOTED = _form(rf"{_DENY}({_CLOSING})?:(\s*)({_QUOTE})({_SECRET})(\4)", 5, ":", "'\"`")
_EQUAL_BRACKETS = _form(rf"{_DENY}((\[[0-9]*\]))?\s*[!=]{{1,2}}\s*(@)?(\")({_SECRET})(\5)", 6, "!=", '"')
_CALL = _form(rf"{_DENY}(.assign)?\((\")({_SECRET})(\3)", 4, "(", '"', flags=0)
_EQUAL = _form(rf"{_DENY}({_CLOSING})?\s*(={{1,3}}|!==?)\s*({_QUOTE}?)({_SECRET})(\4)", 5, "=")
_EQUAL_QUOTED = _form(rf"{_DENY}({_CLOSING})?\s*(={{1,3}}|!==?)\s*({_QUOTE})({_SECRET})(\4)", 5, "=", "'\"`")
_COMPARED = _form(rf"({_QUOTE})({_SECRET})(\1)\s*[!=]{{2,3}}\s*\w*{_DENY}", 2, "!=", "'\"`", flags=0)
_SEMICOLON = _form(rf"{_DENY}[^\s]{{0,50}}?\s*({_QUOTE})({_SECRET})(\2);", 3, ";", "'\"`")
_ARROW = _form(rf"{_DENY}({_CLOSING})?\s*=>?\s*({_QUOTE})({_SECRET})(\3)", 4, "=", "'\"`")

_CONFIG = (_COLON, _COMPARED, _EQUAL, _SEMICOLON)
_QUOTED = (_COLON_QUOTED, _COMPARED, _EQUAL_QUOTED, _SEMICOLON, _ARROW)
_FORMS = {
    FileType.GO: (_COLON_EQUAL, _COMPARED, _EQUAL, _SEMICOLON),
    FileType.C: (_EQUAL_BRACKETS,),
    FileType.C_PLUS_PLUS: (_CALL, _EQUAL_QUOTED),
    FileType.YAML: _CONFIG,
    FileType.CONFIG: _CONFIG,
    FileType.CODE: _QUOTED,
    FileType.OTHER: _QUOTED,
}


def keyword_places(folded: str) -> Iterator[int]:
    """The positions of the words in a text in lower case, also within longer words."""
    for regex in _PLACES:
        for match in regex.finditer(folded):
            yield match.start()
    for word, names in _BEFORE.items():
        place = folded.find(word)
        while place >= 0:
            if folded[max(0, place - _LONGEST) : place].endswith(names):
                yield place
            place = folded.find(word, place + len(word))


def keyword_values(line: str, kind: FileType) -> Iterator[str]:
    """What is assigned to, or compared with, a name that sounds like a secret."""
    for form in _FORMS[kind]:
        if all(any(character in line for character in characters) for characters in form.needs):
            match = form.regex.search(line)
            if match:
                yield match.group(form.group)
