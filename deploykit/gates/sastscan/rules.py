"""ruff's `S` rules under the names that bandit gave them, with the severity and the confidence that bandit gives."""

from __future__ import annotations

import re
from dataclasses import dataclass

from deploykit.model import Severity

__all__ = ["FAILING", "SEVERITIES", "Found", "from_ruff"]

SEVERITIES = {"LOW": Severity.LOW, "MEDIUM": Severity.MODERATE, "HIGH": Severity.HIGH}
FAILING = (Severity.MODERATE, Severity.HIGH, Severity.CRITICAL, Severity.UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class Found:
    """One result of either tool. `first` to `last` are the lines that it is about; `rule` is bandit's (`B602`)."""

    path: str
    line: int
    rule: str
    message: str
    severity: Severity
    confidence: str
    first: int
    last: int


_BY_SEVERITY = {
    "LOW": (
        "101 105 106 107 110 112 311 403 404 405 406 407 408 409 504 603 606 607"
    ),
    "MEDIUM": (
        "102 103 104 108 113 301 302 303 305 306 307 308 310 313 314 315 316 317 318 319 323 503 505 506 508 509 601 "
        "604 608 610 611 612 702 704"
    ),
    "HIGH": "201 202 304 312 321 324 401 402 411 412 413 415 501 502 507 602 605 609 701",
}  # fmt: skip
_BY_CONFIDENCE = {
    "LOW": "113 604 608",
    "MEDIUM": "104 105 106 107 108 201 503 504 507 601 606 609 610 611",
}
_SEVERITY = {f"S{number}": level for level, numbers in _BY_SEVERITY.items() for number in numbers.split()}
_CONFIDENCE = {f"S{number}": level for level, numbers in _BY_CONFIDENCE.items() for number in numbers.split()}
_OCTAL = re.compile(r"`0o(\d+)`")
_WORLD_WRITABLE = 0o002


def from_ruff(code: str, message: str, *, path: str, first: int, last: int) -> Found:
    """Ruff's finding in bandit's words. A rule that is not known here has an unknown severity, which fails the gate."""
    return Found(
        path=path,
        line=first,
        rule=f"B{code[1:]}",
        message=message,
        severity=SEVERITIES.get(_severity(code, message), Severity.UNKNOWN),
        confidence=_CONFIDENCE.get(code, "HIGH"),
        first=first,
        last=last,
    )


def _severity(code: str, message: str) -> str:
    """Bandit's severity, which for some rules depends on what was found."""
    if code in {"S602", "S605"} and "seems safe" in message:
        return "LOW"
    if code == "S103" and (mode := _OCTAL.search(message)) and int(mode[1], 8) & _WORLD_WRITABLE:
        return "HIGH"
    if code == "S324" and "crypt" in message:
        return "MEDIUM"
    return _SEVERITY.get(code, "")
