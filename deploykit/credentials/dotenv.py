"""Files of `NAME=value` lines, read as python-dotenv reads them, with every mistake reported by file and line.

`export`, single and double quotes, escapes, comments and values of several lines in quotes are understood.
`${NAME}` is not expanded: a password may contain a dollar sign. A name without `=` is declared and has no value.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.model import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Entry", "read"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One name of a file; `value` is None for a name without a value."""

    value: str | None
    line: int

    def __repr__(self) -> str:
        return f"Entry(line={self.line})"


def read(path: Path) -> Mapping[str, Entry]:
    """The names of the file and their values, the last one where a name comes twice; empty when there is no file.

    Raises UsageError that names every line that can't be read. Their content is not shown: it may be a secret.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UsageError(f"{path.name}:{line}: this is not UTF-8 text") from error
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from error
    # Imported here since the package costs 20 ms, which every command would pay.
    from dotenv.parser import parse_stream

    entries: dict[str, Entry] = {}
    mistakes = []
    for binding in parse_stream(io.StringIO(text)):
        blank = len(binding.original.string) - len(binding.original.string.lstrip())
        line = binding.original.line + binding.original.string[:blank].count("\n")
        if binding.error:
            mistakes.append(f"{path.name}:{line}: not of the form NAME=value (is a quote missing its end?)")
        elif binding.key is None:
            continue
        elif not _NAME.fullmatch(binding.key):
            mistakes.append(f"{path.name}:{line}: a name has only letters, digits and underscores")
        elif "\0" in (binding.value or ""):
            mistakes.append(f"{path.name}:{line}: the value of {binding.key} holds a NUL character")
        else:
            entries[binding.key] = Entry(value=binding.value, line=line)
    if mistakes:
        raise UsageError(
            f"{path.name} can't be read", details=mistakes, next_step=f"fix these lines of {path.name}, then try again"
        )
    return entries
