"""The line of a key in a TOML document: `tomllib` gives values without positions.

The scanner expects a document that `tomllib` has already accepted, so it only finds its way and judges nothing.
"""

from __future__ import annotations

import functools
import re
import tomllib
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KeyPath", "key_lines", "nearest_line"]

KeyPath = tuple[str | int, ...]
"""Names of tables and keys, and indexes into arrays: `("tool", "deploykit", "service", "smoke", 0, "path")`."""

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]*")
_STRINGS = (
    re.compile(r'"""(?:[^\\"]|\\.|"(?!""))*"{3,5}', re.DOTALL),
    re.compile(r"'''(?:[^']|'(?!''))*'{3,5}", re.DOTALL),
    re.compile(r'"(?:[^\\"\n]|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
)


@functools.lru_cache(maxsize=4)
def key_lines(text: str) -> Mapping[KeyPath, int]:
    """The line (from 1) of every key, table and array element of a valid TOML document."""
    return MappingProxyType(_Scanner(text).scan())


def nearest_line(lines: Mapping[KeyPath, int], path: KeyPath) -> int | None:
    """The line of the key, or of the innermost table around it that the document names; None when there is none."""
    for length in range(len(path), 0, -1):
        if (line := lines.get(path[:length])) is not None:
            return line
    return None


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text.replace("\r\n", "\n")
        self.at = 0
        self.lines: dict[KeyPath, int] = {}
        self.table_arrays: dict[KeyPath, int] = {}  # path of an array of tables -> index of its last table

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self.skip_space()
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)
            self.skip_space()
        return self.lines

    def header(self) -> KeyPath:
        """`[table]` or `[[array of tables]]`; returns the path that the pairs below it belong to."""
        line, is_array = self.line(), self.text.startswith("[[", self.at)
        self.at += 2 if is_array else 1
        names = self.dotted_key()
        self.at += 2 if is_array else 1
        path: KeyPath = ()
        for position, name in enumerate(names):
            path = (*path, name)
            self.note(path, line)
            last = position == len(names) - 1
            if is_array and last:
                self.table_arrays[path] = self.table_arrays.get(path, -1) + 1
            if path in self.table_arrays:
                path = (*path, self.table_arrays[path])
                self.note(path, line)
        return path

    def pair(self, table: KeyPath) -> None:
        line = self.line()
        path = table
        for name in self.dotted_key():
            path = (*path, name)
            self.note(path, line)
        self.skip_space()
        self.at += 1  # the equals sign
        self.value(path)

    def value(self, path: KeyPath) -> None:
        self.skip_space()
        start = self.text[self.at]
        if start in "\"'":
            self.string()
        elif start == "[":
            self.array(path)
        elif start == "{":
            self.inline_table(path)
        else:
            self.at = self.match(_SCALAR)

    def array(self, path: KeyPath) -> None:
        self.at += 1
        index = 0
        while not self.closes("]"):
            self.note((*path, index), self.line())
            self.value((*path, index))
            index += 1

    def inline_table(self, path: KeyPath) -> None:
        self.at += 1
        while not self.closes("}"):
            self.pair(path)

    def closes(self, bracket: str) -> bool:
        """Step over space and a comma; True when the bracket came, which is stepped over too."""
        self.skip_space()
        if self.text[self.at] == ",":
            self.at += 1
            self.skip_space()
        if self.text[self.at] == bracket:
            self.at += 1
            return True
        return False

    def dotted_key(self) -> list[str]:
        names = []
        while True:
            self.skip_space()
            start = self.at
            if self.text[start] in "\"'":
                self.string()
                names.append(str(tomllib.loads(f"key = {self.text[start : self.at]}")["key"]))
            else:
                self.at = self.match(_BARE_KEY)
                names.append(self.text[start : self.at])
            self.skip_space()
            if self.text[self.at] != ".":
                return names
            self.at += 1

    def string(self) -> None:
        self.at = next(found.end() for kind in _STRINGS if (found := kind.match(self.text, self.at)))

    def match(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self.text, self.at)
        if found is None or (pattern is _BARE_KEY and found.end() == self.at):  # tomllib accepted it, so it matches
            raise ValueError(f"line {self.line()} is not TOML that this scanner knows")
        return found.end()

    def skip_space(self) -> None:
        self.at = self.match(_SPACE)

    def note(self, path: KeyPath, line: int) -> None:
        self.lines.setdefault(path, line)

    def line(self) -> int:
        return self.text.count("\n", 0, self.at) + 1
