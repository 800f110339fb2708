"""`# noqa` as ruff reads it, for the findings that ruff does not make itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploykit.gates.sastscan.rules import Found

__all__ = ["hidden_by_noqa"]

_LINE = re.compile(r"#\s*noqa(?P<codes>\s*:\s*(?P<list>[A-Z]+\d*(?:[\s,]+[A-Z]+\d+)*))?", re.IGNORECASE)
_FILE = re.compile(
    r"^\s*#\s*(?:ruff|flake8)\s*:\s*noqa(?P<codes>\s*:\s*(?P<list>[A-Z]+\d*(?:[\s,]+[A-Z]+\d+)*))?", re.IGNORECASE
)


def hidden_by_noqa(found: Found, lines: Sequence[str]) -> bool:
    """Whether a comment in the file (`lines`) hides the finding: at its line, where its statement begins or ends, or
    for all.
    """
    code = f"S{found.rule[1:]}"
    numbers = {found.line, found.first, found.last}
    at_line = [_LINE.search(lines[number - 1]) for number in numbers if 0 < number <= len(lines)]
    of_file = [_FILE.match(line) for line in lines if "noqa" in line]
    return any(match is not None and _names(match, code) for match in (*at_line, *of_file))


def _names(match: re.Match[str], code: str) -> bool:
    if match["list"] is None:
        return True
    return any(code.startswith(word.upper()) for word in re.split(r"[\s,]+", match["list"]) if word)
