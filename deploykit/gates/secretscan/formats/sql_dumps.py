"""Credentials in SQL: accounts with their passwords, and rows of dumps with passwords or their hashes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from deploykit.gates.secretscan.formats.interface import FormatRule, Place
from deploykit.gates.secretscan.formats.names import could_be_secret, names_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RULES"]

# A part of a string. Repetitions of it are possessive (`*+`): a quote that is doubled could else be read as the end of
# one string and the start of another, and n of them in 2^n ways.
_STRING = r"(?:[^'\\]|\\.|'')"
_ACCOUNT = re.compile(
    r"(?:IDENTIFIED\s+(?:WITH\s+\S+\s+)?(?:BY|AS)(?:\s+PASSWORD)?"
    r"|(?:ENCRYPTED\s+)?PASSWORD\s*+(?:=\s*+)?(?:PASSWORD\s*+)?\(?)"
    rf"\s*+'({_STRING}++)'",
    re.IGNORECASE,
)
_SET = re.compile(rf"\b(?=\w*(?:password|passwd|secret|token|api_key))(\w++)\s*=\s*'({_STRING}++)'", re.IGNORECASE)
_HASH = re.compile(
    r"\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}|\$(?:1|5|6|apr1|y)\$[^\s'\",]{12,}|\$argon2i?d?\$[^\s'\"]{20,}"
    r"|pbkdf2_sha\d+\$\d+\$[^\s'\",]{10,}|SCRAM-SHA-256\$[^\s'\"]{20,}|(?<=')md5[0-9a-f]{32}(?=')"
)
_INSERT = re.compile(r"INSERT\s+(?:IGNORE\s+)?INTO\s+\S+?\s*\(([^()]*)\)\s*VALUES\s*(.*)", re.IGNORECASE)
_ROW = re.compile(rf"\(((?:[^()']|'{_STRING}*+')*+)\)")
_CELL = re.compile(rf"\s*('{_STRING}*+'|[^,]*)\s*(?:,|$)")


def _find(_path: str, text: str) -> Iterator[Place]:
    for number, line in enumerate(text.split("\n"), 1):
        for match in _HASH.finditer(line):
            yield Place(number, match[0])
        for match in _ACCOUNT.finditer(line):
            if could_be_secret(match[1]) and not _HASH.search(match[0]):
                yield Place(number, match[1])
        if not re.match(r"\s*(?:SELECT|INSERT|CREATE TABLE)\b", line, re.IGNORECASE):
            for match in _SET.finditer(line):
                if names_secret(match[1]) and could_be_secret(match[2]):
                    yield Place(number, match[2])
        insert = _INSERT.search(line)
        if insert:
            yield from _rows(number, insert[1], insert[2])


def _rows(number: int, columns: str, rows: str) -> Iterator[Place]:
    secret = [index for index, name in enumerate(columns.split(",")) if names_secret(name.strip(' `"[]'))]
    for row in _ROW.finditer(rows):
        cells = [match[1] for match in _CELL.finditer(row[1])]
        for index in secret:
            if index < len(cells) and cells[index].startswith("'") and could_be_secret(cells[index].strip("'")):
                yield Place(number, cells[index].strip("'"))


RULES = (
    FormatRule(
        id="sql",
        type="SQL Credentials",
        applies=lambda path, _text: path.lower().endswith((".sql", ".dump", ".psql", ".ddl", ".mysql")),
        find=_find,
        true=("a.sql", "CREATE USER 'reporter'@'%' IDENTIFIED BY 'Lantern-Fish-3';\n"),
        false=("a.sql", "CREATE TABLE t (password text);\nSELECT password FROM t WHERE name = 'anna';\n"),
    ),
)
