"""Hide known secret values in text, in the spellings in which they turn up, and passwords in any URL."""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from typing import TYPE_CHECKING

from deploykit.model import Secret
from deploykit.model.secret import MASK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Redactor"]

_SHORTEST = 4
"""Shorter values are not looked for: they are part of too many words."""
_SHORTEST_LINE = 8
_SHORTEST_BASE64 = 6
# `://user:password@`: up to the last @ before a slash, a quote or a blank, since a password may hold an @ itself.
_URL_PASSWORD = re.compile(r"""(://[^\s:/@"<>]*:)([^\s/"<>]+)(?=@)""")


class Redactor:
    """Masks secrets: `Redactor(values.to_redact)(line)`. Made once, then called for many lines.

    It looks for values of 4 characters and more: as they are, URL-encoded, JSON- and repr-escaped, and in base64 (also
    within a longer encoded text, such as a basic authorization). It also looks for single lines of values with several.
    Where secrets overlap, everything that any of them covers is masked.
    """

    __slots__ = ("_any", "_forms")

    def __init__(self, values: Iterable[str | Secret]) -> None:
        texts = {value.reveal() if isinstance(value, Secret) else value for value in values}
        forms = {form for text in texts for form in _forms(text)}
        # A value of nothing but mask characters can't be distinguished from a mask.
        self._forms = sorted((form for form in forms if form.strip(MASK[0])), key=lambda form: (-len(form), form))
        self._any = re.compile("|".join(map(re.escape, self._forms))) if self._forms else None

    def __repr__(self) -> str:
        return f"Redactor({len(self._forms)} forms)"

    def __call__(self, text: str) -> str:
        text = self._hidden(text)
        if "://" in text and "@" in text:
            text = self._hidden(_URL_PASSWORD.sub(rf"\g<1>{MASK}", text))
        return text

    def _hidden(self, text: str) -> str:
        # Repeated, since a mask and its neighbours may spell a secret that holds asterisks. Each turn takes at least
        # one character away that is no asterisk, so this ends.
        while self._any is not None and self._any.search(text):
            text = self._mask(text)
        return text

    def _mask(self, text: str) -> str:
        spans: list[tuple[int, int]] = []
        for form in self._forms:
            start = text.find(form)
            while start >= 0:
                spans.append((start, start + len(form)))
                start = text.find(form, start + 1)
        parts, end = [], 0
        for start, stop in sorted(spans):
            if start >= end:
                parts += [text[end:start], MASK]
            end = max(end, stop)
        return "".join([*parts, text[end:]])


def _forms(value: str) -> Iterator[str]:
    """All spellings of a value that are looked for."""
    lines = value.splitlines()
    pieces = [value]
    if len(lines) > 1:
        # Output comes line by line. The first and last line of a PEM block are the same for everybody.
        pieces += [
            line.strip() for line in lines if len(line.strip()) >= _SHORTEST_LINE and not line.startswith("-----")
        ]
    for piece in pieces:
        if len(piece) < _SHORTEST:
            continue
        yield piece
        yield urllib.parse.quote(piece, safe="", errors="surrogatepass")
        yield urllib.parse.quote(piece, errors="surrogatepass")
        yield urllib.parse.quote_plus(piece, errors="surrogatepass")
        yield json.dumps(piece)[1:-1]
        yield json.dumps(piece, ensure_ascii=False)[1:-1]
        yield repr(piece)[1:-1]
        yield from _base64_forms(piece.encode("utf-8", "surrogatepass"))


def _base64_forms(raw: bytes) -> Iterator[str]:
    """The value in base64: alone, and what is the same of it wherever it occurs in a longer encoded text."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        alone = encode(raw).decode()
        yield alone
        yield alone.rstrip("=")
        for before in range(3):
            # 3 bytes make 4 characters: those that also hold bits of what comes before or after are left out.
            coded = encode(b"\0" * before + raw).decode().rstrip("=")
            first = -(-before * 8 // 6)
            last = (before + len(raw)) * 8 // 6
            if last - first >= _SHORTEST_BASE64:
                yield coded[first:last]
