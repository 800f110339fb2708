"""Read one file of a tree: its text, or why there is none.

Links are not followed, and what is no regular file is not opened.
"""

from __future__ import annotations

import codecs
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LARGEST", "Read", "decoded", "read_file"]

LARGEST = 100_000_000
"""Bytes; a file that is longer is not looked into, which is said and makes the verdict inconclusive."""

_BINARY_PROBE = 8192


class Read(NamedTuple):
    """`problem` says why the content could not be read, and is empty when it was."""

    content: bytes
    problem: str = ""


def read_file(path: Path, *, largest: int = LARGEST) -> Read:
    """The whole content. A pipe or a device never blocks; a file that shrinks or grows meanwhile is read as it is."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return Read(b"", "it is gone")
    except OSError as error:
        return Read(b"", error.strerror or type(error).__name__)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            return Read(b"", "it is no regular file")
        if status.st_size > largest:
            return Read(b"", f"it is longer than {largest // 1_000_000} MB")
        with open(handle, "rb", closefd=False) as stream:
            return Read(stream.read())
    except OSError as error:
        return Read(b"", error.strerror or type(error).__name__)
    finally:
        os.close(handle)


def decoded(content: bytes) -> tuple[str, str] | None:
    """The text, with line feeds alone at line ends, and the encoding that it was read in; None for a binary file.

    A file with a zero byte is text only if it says that it is UTF-16, or is all UTF-8. Other bytes are read as Latin-1:
    the rules look for ASCII, and detect-secrets leaves such files out without a word.
    """
    encoding = "utf-8"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        if b"\0" in content[:_BINARY_PROBE]:
            return None
        encoding = "latin-1"
        text = content.decode(encoding)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text, encoding
