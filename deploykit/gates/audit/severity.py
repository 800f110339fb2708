"""How bad an advisory is: what its own database says, else the rating of its CVSS vectors, else what its aliases say.

The scanners' answers name advisories and not their severity, so the records are looked up: in the offline copy, or one
by one at the OSV service (https://google.github.io/osv.dev/get-v1-vulns/).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from deploykit.model import Severity
from deploykit.process.http import Client, CredentialKept, check_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["OSV", "is_safe_address", "online", "severity_of"]

OSV = "https://api.osv.dev"
_SECONDS = 10.0
_LARGEST = 4 * 2**20
_WORDS = {
    "LOW": Severity.LOW,
    "MODERATE": Severity.MODERATE,
    "MEDIUM": Severity.MODERATE,
    "HIGH": Severity.HIGH,
    "CRITICAL": Severity.CRITICAL,
}
_ORDER = (Severity.LOW, Severity.MODERATE, Severity.HIGH, Severity.CRITICAL)
# The qualitative scale of CVSS 3.1 (chapter 5) and 4.0; CVSS 2 has none of its own and is read by the same one.
_SCALE = ((9.0, Severity.CRITICAL), (7.0, Severity.HIGH), (4.0, Severity.MODERATE))


def severity_of(names: Iterable[str], look_up: Callable[[str], Mapping[str, Any] | None]) -> Severity:
    """The worst that any of the records says which go by one of the `names` (an id and its aliases); UNKNOWN if none
    says it.

    `look_up` gives the OSV record of a name, None where there is none or it could not be had.
    """
    found = [severity for name in names if (record := look_up(name)) for severity in _said(record)]
    return max(found, key=_ORDER.index) if found else Severity.UNKNOWN


def _said(record: Mapping[str, Any]) -> list[Severity]:
    parts = [record, *(part for part in record.get("affected") or () if isinstance(part, dict))]
    words: list[Severity] = []
    vectors: list[Severity] = []
    for part in parts:
        for field in ("database_specific", "ecosystem_specific"):
            word = (part.get(field) or {}).get("severity")
            if isinstance(word, str) and word.upper() in _WORDS:
                words.append(_WORDS[word.upper()])
        scores = [str(entry.get("score", "")) for entry in part.get("severity") or () if isinstance(entry, dict)]
        vectors += filter(None, map(_rated, scores))
    return words or vectors


def _rated(vector: str) -> Severity | None:
    """The rating of a CVSS vector's base score; None for what is no vector."""
    from cvss import CVSS2, CVSS3, CVSS4  # type: ignore[import-untyped]
    from cvss.exceptions import CVSSError  # type: ignore[import-untyped]

    try:
        if vector.startswith("CVSS:4"):
            score = float(CVSS4(vector).base_score)
        elif vector.startswith("CVSS:3"):
            score = float(CVSS3(vector).base_score)
        else:
            score = float(CVSS2(vector).base_score)
    except (CVSSError, ValueError):
        return None
    return next((severity for least, severity in _SCALE if score >= least), Severity.LOW)


def is_safe_address(address: str) -> bool:
    """Whether answers from there can be believed: https, or this machine."""
    try:
        check_address(address)
    except CredentialKept:
        return False
    return True


def online(service: str = OSV) -> Callable[[str], Mapping[str, Any] | None]:
    """Look records up at an OSV service.

    Once it can't be reached it is not asked again. `service` must be a safe address.
    """
    import httpx2

    known: dict[str, Mapping[str, Any] | None] = {}
    reachable = True

    def look_up(name: str) -> Mapping[str, Any] | None:
        nonlocal reachable
        if name not in known:
            known[name] = None
            if reachable and is_safe_address(service):
                try:
                    known[name] = _fetched(f"{service.rstrip('/')}/v1/vulns/{quote(name, safe='')}")
                except (httpx2.HTTPError, CredentialKept, ValueError):
                    reachable = False
        return known[name]

    return look_up


def _fetched(address: str) -> Mapping[str, Any] | None:
    with Client(timeout=_SECONDS) as client, client.stream("GET", address) as answer:
        if answer.status_code != 200:
            return None  # not known there under this name
        body = bytearray()
        for piece in answer.iter_bytes():
            body += piece
            if len(body) > _LARGEST:
                return None
    record = json.loads(body)
    return record if isinstance(record, dict) else None
