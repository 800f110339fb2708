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

__all__ = ["LARGEST", "Read", "bytes_as_text", "decoded", "read_file"]

LARGEST = 100_000_000
"""Bytes; a file that is longer is not looked into, which is said and makes the verdict inconclusive."""

_BINARY_PROBE = 8192
_PRINTABLE = 0.95
_ASCII = 0.1
_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
# The mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


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


def decoded(content: bytes, *, named_as_text: bool = False) -> tuple[str, str] | None:
    """The text, with line feeds alone at line ends, and the encoding that it was read in; None for a binary file.

    UTF-16 and UTF-32 are known by their mark, or by what they say when they are read so. Other bytes than UTF-8 are
    read as Latin-1: the rules look for ASCII, and detect-secrets leaves such files out without a word. Only with a zero
    byte near its beginning is such a file binary, and never where its name says that it is text.
    """
    read = _marked(content) or _unmarked(content)
    if read is None:
        return (bytes_as_text(content), "latin-1") if named_as_text else None
    text, encoding = read
    return _with_line_feeds(text), encoding


def bytes_as_text(content: bytes) -> str:
    """The text that programs see who read byte by byte and skip zeros.

    What begins with a mark of UTF-16, or for the most part is it, can hold plain text as well.
    """
    return _with_line_feeds(content.decode("latin-1").replace("\0", ""))


def _with_line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _marked(content: bytes) -> tuple[str, str] | None:
    """A file that begins with a mark; damaged ones are read as far as they can be."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding, "replace"), encoding
    return None


def _unmarked(content: bytes) -> tuple[str, str] | None:
    if b"\0" in content:
        for encoding in _WIDE:
            if _is_text(content[:_BINARY_PROBE].decode(encoding, "replace")):
                return content.decode(encoding, "replace"), encoding
    try:
        text, encoding = content.decode(), "utf-8"
    except UnicodeDecodeError:
        if b"\0" in content[:_BINARY_PROBE]:
            return None
        text, encoding = content.decode("latin-1"), "latin-1"
    # Zero bytes in the midst of text: UTF-16 that was appended, or ends of records. The rules don't see past them.
    return text.replace("\0", ""), encoding


def _is_text(text: str) -> bool:
    """Whether nearly all of it can be printed, and some of it is ASCII: pairs of other bytes look like Chinese."""
    printable = sum(letter.isprintable() and letter != "\N{REPLACEMENT CHARACTER}" for letter in text)
    blank = sum(letter in "\n\r\t" for letter in text)
    plain = sum(" " <= letter <= "~" for letter in text)
    return bool(text) and printable + blank >= _PRINTABLE * len(text) and plain >= _ASCII * len(text)
