"""All secrets of one text: detect-secrets' and the kit's own formats', each value once a line."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from deploykit.gates.secretscan.filters import allowlisted
from deploykit.gates.secretscan.formats import FORMATS
from deploykit.gates.secretscan.lines import Hit, find_in_lines

if TYPE_CHECKING:
    from deploykit.gates.secretscan.rules import Rules

__all__ = ["Secret", "find_secrets", "hash_of"]


class Secret(NamedTuple):
    """A secret, without its value. `hashed`: SHA-1 of the value, as detect-secrets' baselines have it."""

    line: int
    type: str
    hashed: str


def hash_of(value: str) -> str:
    return hashlib.sha1(value.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def find_secrets(path: str, text: str, rules: Rules) -> tuple[Secret, ...]:
    """Sorted by line. A value on several lines is there for each of them."""
    hits = find_in_lines(path, text, rules)
    if rules.formats:
        hits += _of_formats(path, text, rules, hits)
    return tuple(sorted({Secret(line, kind, hash_of(value)) for kind, value, line in hits}))


def first_lines(secrets: tuple[Secret, ...]) -> tuple[Secret, ...]:
    """Each (type, hash) once, at its first line, as detect-secrets has it."""
    first: dict[tuple[str, str], Secret] = {}
    for secret in secrets:
        first.setdefault((secret.type, secret.hashed), secret)
    return tuple(first.values())


def _of_formats(path: str, text: str, rules: Rules, known: list[Hit]) -> list[Hit]:
    """What the formats' parsers find beyond what is known: a value within another one on the same line
    is the same one.
    """
    by_line: dict[int, list[str]] = {}
    for _kind, value, line in known:
        by_line.setdefault(line, []).append(value)
    lines: list[str] | None = None
    found: list[Hit] = []
    for rule in FORMATS:
        if not rule.applies(path, text):
            continue
        for place in rule.find(path, text):
            lines = text.split("\n") if lines is None else lines
            own = lines[place.line - 1]
            before = lines[place.line - 2] if place.line > 1 else ""
            if rules.pragmas and allowlisted(own.rstrip(), before, yaml=path.endswith(".yaml")):
                continue
            same = by_line.setdefault(place.line, [])
            if not any(place.value in value or value in place.value for value in same):
                same.append(place.value)
                found.append((rule.type, place.value, place.line))
    return found
