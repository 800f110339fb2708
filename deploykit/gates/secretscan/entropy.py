"""detect-secrets' high-entropy detectors: quoted strings whose characters look drawn at random."""

from __future__ import annotations

import math
import re
import string
from dataclasses import dataclass
from functools import cached_property

__all__ = ["BASE64_CHARACTERS", "EntropyRule", "base64_rule", "hex_rule"]

BASE64_CHARACTERS = string.ascii_letters + string.digits + "+/\\-_="


@dataclass(frozen=True)
class EntropyRule:
    """`limit`: bits a character (Shannon) that a string must exceed."""

    type: str
    characters: str
    limit: float

    @cached_property
    def quoted(self) -> re.Pattern[str]:
        return re.compile(rf"(['\"])([{re.escape(self.characters)}]+)(\1)")

    @property
    def shortest(self) -> int:
        """No shorter string can have so much entropy: n characters give at most log2(n) bits."""
        return max(1, math.floor(2**self.limit))

    def entropy(self, value: str) -> float:
        """Summed in detect-secrets' order, so that a string right at the limit gets the same answer."""
        present = set(value)
        total = 0.0
        for character in self.characters:
            if character in present:
                share = float(value.count(character)) / len(value)
                total += -share * math.log2(share)
        if self.characters == string.hexdigits and len(value) > 1:
            try:
                int(value)
            except ValueError:
                return total
            total -= 1.2 / math.log2(len(value))
        return total

    def values(self, line: str) -> list[str]:
        found = dict.fromkeys(match[1] for match in self.quoted.findall(line))
        return [value for value in found if len(value) >= self.shortest and self.entropy(value) > self.limit]


def base64_rule(limit: float = 4.5) -> EntropyRule:
    return EntropyRule("Base64 High Entropy String", BASE64_CHARACTERS, limit)


def hex_rule(limit: float = 3.0) -> EntropyRule:
    return EntropyRule("Hex High Entropy String", string.hexdigits, limit)
