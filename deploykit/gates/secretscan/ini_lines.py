"""detect-secrets' view of files in INI form (`transformers/config.py`, Apache-2.0): each value quoted, on its own line.

Every file is tried as INI first. A file of unknown kind without findings is tried again with a section header added at
its top. Few files are INI, so a quick look at the lines precedes the real parser.
"""

from __future__ import annotations

import configparser
import re

from deploykit.gates.secretscan.filters import nextline_regex

__all__ = ["ini_lines"]

_SECTION = configparser.ConfigParser.SECTCRE
_OPTION = configparser.ConfigParser.OPTCRE
_COMMENT = re.compile(r"\s*[;#]")


def ini_lines(text: str, *, add_header: bool = False) -> list[str] | None:
    """The lines `key = "value"`, at their line numbers as far as the original keeps them; None when it
    is no INI file.
    """
    content = f"[global]\n{text}" if add_header else text
    if not _may_be_ini(content):
        return None
    parser = configparser.ConfigParser()
    setattr(parser, "optionxform", str)  # noqa: B010 - mypy knows it as a method
    try:
        parser.read_string(content)
        if not parser.sections():
            return None
        return _rendered(parser, text)
    except configparser.Error:
        return None


def _may_be_ini(content: str) -> bool:
    """Whether the parser could get through: it gives up on a line that is neither section, option nor continuation."""
    in_section = in_option = False
    level = 0
    for line in content.split("\n"):
        value = line.strip()
        if not value or value[0] in "#;":
            continue
        indent = len(line) - len(line.lstrip())
        if in_section and in_option and indent > level:
            continue
        level = indent
        if _SECTION.match(value):
            in_section, in_option = True, False
            continue
        option = _OPTION.match(value) if in_section else None
        if option is None or not option["option"].strip():
            return False
        in_option = True
    return in_section


def _rendered(parser: configparser.ConfigParser, text: str) -> list[str]:
    places = _Places(text)
    lines: list[str] = []
    for section in parser:
        for key, values in parser.items(section):
            for value, number in places.of(key, values):
                if not value:
                    continue
                lines.extend([""] * (number - 1 - len(lines)))
                if _allows_next(value):
                    lines.append(value)
                    continue
                bare = value[1:-1] if value[0] in "'\"" and value[-1] == value[0] else value
                escaped = bare.replace('"', '\\"')
                lines.append(f'{key} = "{escaped}"')
    return lines


class _Places:
    """Finds values' line numbers, since the parser forgets them: looks on from where the last value was found."""

    def __init__(self, text: str) -> None:
        whole = text.split("\n")
        if not whole[-1]:
            whole.pop()
        self._lines = [line.strip() for line in whole]
        self._offset = 0

    def of(self, key: str, values: str) -> list[tuple[str, int]]:
        parts = values.splitlines()
        wanted = parts[:1] + [part for part in parts[1:] if part]
        if not wanted:
            return []
        first = re.compile(rf"^\s*{re.escape(key)}[ :=]+{re.escape(wanted[0])}")
        index, found = 0, []
        for offset, line in enumerate(self._lines):
            number = self._offset + offset + 1
            if _allows_next(line):
                found.append((line, number))
                continue
            if not line or _COMMENT.match(line):
                continue
            if index == 0:
                if first.match(line):
                    found.append((wanted[0], number))
                    index = 1
                continue
            if index == len(wanted):
                used = offset or 1
                self._offset += used
                self._lines = self._lines[used:]
                break
            found.append((wanted[index], number))
            index += 1
        else:
            self._lines = []
        return found


def _allows_next(line: str) -> bool:
    return "pragma:" in line and any(nextline_regex(start).search(line) is not None for start in "#;")
