r"""Text from outside as it is shown: file names, log lines, what tools say, names of branches, messages of errors.

A terminal obeys control characters, and so do the readers of a log: `\x1b[2K` takes back a line, and a line feed in a
file name makes a line that nobody has said. So nothing is printed but through `printed`, which writes each of them as
Python would: `\x1b`. Bidirectional controls, by which text looks otherwise than it is (CVE-2021-42574), are written
so, too.
"""

from __future__ import annotations

import os
import re

__all__ = ["is_harmless", "painted", "printable", "printed", "with_colours"]

_UNSAFE = (
    r"\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional marks, embeddings, overrides and isolates
    r"\u2028\u2029"  # line and paragraph separator
    r"\ud800-\udfff"  # halves of pairs: bytes of a file name that are no UTF-8, which no stream can encode
)
_ESCAPE = r"x[0-9a-f]{2}|u[0-9a-f]{4}"
# Backslashes are doubled where what follows would be read as an escape, and nowhere else.
_WRITTEN = re.compile(rf"(\\+)(?=[{_UNSAFE}]|{_ESCAPE})|([{_UNSAFE}])")
_HARMFUL = re.compile(f"[{_UNSAFE}]")
_COMMAND = re.compile(r"\s*::")
_MARK = f"<{os.urandom(12).hex()} "
"""Begins a colour of the kit's own. It is random, so text from outside can't have it."""
_COLOURS = re.compile(r"(\x1b\[(?:(?:[0-79]|2[1-9]|[349][0-7]|[34]9|10[0-7])(?:;(?=\d)|(?=m)))*m)")
"""Colours and weights (SGR), but for hidden text (8)."""


def printable(text: str, *, keep: str = "") -> str:
    r"""The text without control and bidirectional characters; `keep` names those that stay (a tab, a line feed).

    A backslash among them stays single: for SQL and log lines, which somebody may copy.

    They become `\x1b`, `\u202e`. The result is unambiguous: two texts never look the same. Text without such
    characters, and without backslashes before what looks like an escape, stays as it is.
    """
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    doubled = 1 if "\\" in keep else 2
    return _WRITTEN.sub(lambda found: found[1] * doubled if found[1] else _escaped(found[2], keep), text)


def is_harmless(text: str) -> bool:
    """Whether nothing in it is to be escaped, as in what `printable` gives."""
    return _HARMFUL.search(text) is None


def _escaped(character: str, keep: str) -> str:
    code = ord(character)
    return character if character in keep else f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def printed(line: str, *, keep: str = "") -> str:
    """One line as it goes to a stream, with the kit's own colours.

    A continuous integration reads commands in what is printed, such as GitHub's `::add-mask::`: none comes from here.
    """
    shown = printable(line, keep=keep)
    if _COMMAND.match(shown):
        shown = shown.replace(":", "\\x3a", 1)
    return shown.replace("##[", "#\\x23[").replace(_MARK, "\x1b[")


def painted(text: str, codes: str) -> str:
    """The text in a colour that `printed` keeps. `codes` are SGR's, such as `1;31`."""
    return f"{_MARK}{codes}m{text}{_MARK}0m"


def with_colours(line: str) -> str:
    """A line of a tool that the kit has run in colour, for a terminal: `printed`, and its colours stay."""
    parts = _COLOURS.split(line)
    kept = "".join(part if index % 2 else printed(part, keep="\t") for index, part in enumerate(parts))
    return f"{kept}\x1b[0m" if len(parts) > 1 else kept
