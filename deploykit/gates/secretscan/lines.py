"""Find detect-secrets' secrets in lines: gates over the whole text first, its detectors and filters only where they
fire.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

from deploykit.gates.secretscan.filetype import FileType, file_type
from deploykit.gates.secretscan.filters import allowlisted, is_likely_id
from deploykit.gates.secretscan.ini_lines import ini_lines
from deploykit.gates.secretscan.keywords import keyword_places, keyword_values
from deploykit.gates.secretscan.tokens import WORD, TokenRule
from deploykit.gates.secretscan.yaml_lines import yaml_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deploykit.gates.secretscan.entropy import EntropyRule
    from deploykit.gates.secretscan.rules import Rules

__all__ = ["Hit", "find_in_lines"]

Hit = tuple[str, str, int]
"""The type of a secret, its value, and its line (from 1)."""

# Letters outside ASCII that a case-blind expression takes for i, s or k; all are folded one to one, so places stay.
_FOLDED = {"\u0130": "i", "\u0131": "i", "\u017f": "s", "\u212a": "k"}
_FOLDING = str.maketrans(_FOLDED)
_RUNS = re.compile(r"[A-Za-z0-9+/\\\-_=]{8,}")
_HIDES = re.compile(r"\\|!!|!<|%[({]")
_JOINING_BITS = 0.3  # a quote inside a YAML value is written with a backslash, which lengthens the run before it


def find_in_lines(path: str, text: str, rules: Rules) -> list[Hit]:
    """What detect-secrets finds in a file with this name and text, at every line where it occurs.

    As in the original, an INI or YAML file is examined value by value. A file of unknown kind without findings is tried
    once more as an INI file without a header.
    """
    kind = file_type(path)
    lines = ini_lines(text)
    if lines is None and kind is FileType.YAML:
        if not _worth_parsing(text, rules):
            return []
        lines = yaml_lines(text)
    found = _Lines(path, lines, rules, kind).hits() if lines else _Lines(path, text, rules, kind).hits()
    if not found and kind is FileType.OTHER:
        eager = ini_lines(text, add_header=True)
        if eager:
            found = _Lines(path, eager, rules, kind).hits()
    return found


class _Lines:
    def __init__(self, path: str, source: str | list[str], rules: Rules, kind: FileType) -> None:
        self._rules = rules
        self._kind = kind
        # detect-secrets looks `yaml` up without the dot, and so only that ending has comments of one kind.
        self._only_hash = path.endswith(".yaml")
        self._text = source if isinstance(source, str) else "\n".join(source)
        self._given = source if isinstance(source, list) else None

    def hits(self) -> list[Hit]:
        text, rules = self._text, self._rules
        folded = _fold(text)
        marked: list[tuple[int, TokenRule | EntropyRule | None]] = []
        for rule in rules.tokens:
            if not rule.worded:
                inside = folded if rule.folded else text
                if not rule.literals or any(literal in inside for literal in rule.literals):
                    marked += [(match.start(), rule) for match in rule.gate.finditer(inside)]
        for pattern, mark in _quoted_gates(rules.entropy):
            marked += [(match.start(), mark) for match in pattern.finditer(text)]
        if rules.keywords:
            marked += [(place, None) for place in keyword_places(folded)]
        for gate in {rule.gate for rule in rules.tokens if rule.worded}:
            # A long run after a delimiter is rarer than a word; the word is looked for in that line.
            places = [match.start() + 1 for match in gate.finditer(folded)]
            marked += [(place, rule) for rule in rules.tokens if rule.gate is gate for place in places]
        if not marked:
            return []
        return list(self._examine(marked, folded))

    def _examine(self, marked: list[tuple[int, TokenRule | EntropyRule | None]], folded: str) -> Iterator[Hit]:
        lines = self._given if self._given is not None else self._text.split("\n")
        starts = [0, *accumulate(len(line) + 1 for line in lines)]
        asked: dict[int, dict[int, TokenRule | EntropyRule | None]] = {}
        for position, rule in marked:
            asked.setdefault(bisect_right(starts, position) - 1, {})[id(rule)] = rule
        for index in sorted(asked):
            line = lines[index].rstrip()
            hits = []
            for rule in asked[index].values():
                if rule is None:
                    hits += self._keywords(line)
                elif getattr(rule, "worded", False) and not WORD.search(folded, starts[index], starts[index + 1]):
                    continue
                else:
                    hits += self._values(rule, line)
            if hits and not self._line_is_filtered(line, lines[index - 1] if index else ""):
                yield from ((kind, value, index + 1) for kind, value in hits)

    def _keywords(self, line: str) -> list[tuple[str, str]]:
        exclude = self._rules.keyword_exclude
        if exclude is not None and exclude.search(line):
            return []
        values = dict.fromkeys(keyword_values(line, self._kind))
        return [("Secret Keyword", value) for value in values if self._accepted(value, line, by_name=True)]

    def _values(self, rule: TokenRule | EntropyRule, line: str) -> list[tuple[str, str]]:
        by_name = not hasattr(rule, "gate")
        return [(rule.type, value) for value in rule.values(line) if self._accepted(value, line, by_name=by_name)]

    def _accepted(self, value: str, line: str, *, by_name: bool) -> bool:
        if any(check(value) for check in self._rules.value_filters):
            return False
        return not (by_name and self._rules.likely_ids and is_likely_id(value, line))

    def _line_is_filtered(self, line: str, previous: str) -> bool:
        rules = self._rules
        if rules.pragmas and allowlisted(line, previous, yaml=self._only_hash):
            return True
        return any(check(line) for check in rules.line_filters)


def _fold(text: str) -> str:
    """Lower case, every character in its place, as expressions that are blind to case see it."""
    if text.isascii():
        return text.lower()
    if any(letter in text for letter in _FOLDED):
        text = text.translate(_FOLDING)
    folded = text.lower()
    if len(folded) == len(text):
        return folded
    return "".join(character.lower() if len(character.lower()) == 1 else character for character in text)


def _quoted_gates(rules: Sequence[EntropyRule]) -> list[tuple[re.Pattern[str], EntropyRule]]:
    return [(_quoted_gate(rule.characters, rule.shortest), rule) for rule in rules]


_GATES: dict[tuple[str, int], re.Pattern[str]] = {}


def _quoted_gate(characters: str, shortest: int) -> re.Pattern[str]:
    key = (characters, shortest)
    if key not in _GATES:
        _GATES[key] = re.compile(rf"['\"][{re.escape(characters)}]{{{shortest},}}['\"]")
    return _GATES[key]


def _worth_parsing(text: str, rules: Rules) -> bool:
    """Whether anything could be found in YAML, however its values are read: parsing it costs a hundred
    times as much.
    """
    if _HIDES.search(text):
        return True
    folded = _fold(text)
    if rules.keywords and next(keyword_places(folded), None) is not None:
        return True
    for rule in rules.tokens:
        inside = folded if rule.folded else text
        if any(literal in inside for literal in rule.literals or ("",)) and rule.gate.search(inside):
            return True
    return any(
        len(run) >= random.shortest - 1 and random.entropy(run) > random.limit - _JOINING_BITS
        for random in rules.entropy
        for run in _RUNS.findall(text)
    )
