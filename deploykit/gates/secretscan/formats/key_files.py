r"""Private keys: PEM (also inside YAML blocks, in one line with \\n, and wrapped in base64) and PuTTY's files."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

from deploykit.gates.secretscan.formats.interface import FormatRule, Place

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RULES"]

_BEGIN = re.compile(r"-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?)-----")
_BODY = re.compile(r"[A-Za-z0-9+/=]{20,}")
_SPACE = re.compile(r"\s|\\n")
_WRAPPED = re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/]{20,}={0,2}")
_PUTTY = re.compile(r"PuTTY-User-Key-File-\d+:")


def _line_of(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def _pem(_path: str, text: str) -> Iterator[Place]:
    for match in _BEGIN.finditer(text):
        end = text.find(f"-----END {match[1]}-----", match.end())
        body = text[match.end() : end if end >= 0 else match.end() + 4000]
        if _BODY.search(body):
            yield Place(_line_of(text, match.start()), match[0] + _SPACE.sub("", body))


def _wrapped(_path: str, text: str) -> Iterator[Place]:
    for match in _WRAPPED.finditer(text):
        start = match[0][: len(match[0]) // 4 * 4]
        try:
            decoded = base64.b64decode(start)
        except binascii.Error:  # pragma: no cover - the expression allows base64 only
            continue
        if b"PRIVATE KEY" in decoded[:60]:
            yield Place(_line_of(text, match.start()), match[0])


def _putty(_path: str, text: str) -> Iterator[Place]:
    for match in _PUTTY.finditer(text):
        private = text.find("Private-Lines:", match.end())
        if private >= 0:
            yield Place(_line_of(text, match.start()), f"{match[0]}{text[private:].strip()}")


RULES = (
    FormatRule(
        id="pem",
        type="PEM Private Key",
        applies=lambda _path, text: "PRIVATE KEY" in text,
        find=_pem,
        true=(
            "key.pem",
            (
                "-----BEGIN "
                "ENCRYPTED PRIVATE KEY-----\nMIIC3TBXBgkqhkiG9w0BBQ0wSjAp\n-----END ENCRYPTED PRIVATE KEY-----\n"
            ),
        ),
        false=("key.pem", "-----BEGIN " + "ENCRYPTED PRIVATE KEY-----\n...\n-----END ENCRYPTED PRIVATE KEY-----\n"),
    ),
    FormatRule(
        id="pem-base64",
        type="PEM Private Key (base64)",
        applies=lambda _path, text: "LS0tLS1CRUdJTi" in text,
        find=_wrapped,
        true=("a.yaml", "key: LS0tLS1CRUdJTiBFQyBQUklWQVRFIEtFWS0tLS0tCk1IY0NBUUVF\n"),
        false=("a.yaml", "cert: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJrVEND\n"),
    ),
    FormatRule(
        id="putty",
        type="PuTTY Private Key",
        applies=lambda _path, text: "PuTTY-User-Key-File-" in text,
        find=_putty,
        true=("a.ppk", "PuTTY-User-" + "Key-File-3: ssh-ed25519\nPrivate-Lines: 1\nAAAAIGk2Qz0rVnB4\n"),
        false=("a.txt", "A file of PuTTY begins with PuTTY-User-" + "Key-File-3: and the kind of key.\n"),
    ),
)
