"""An attack: texts on which a regular expression tries more ways than there are, of every expression of the kit.

An expression with a repetition in a repetition can need twice as long for each further character. Here each of them is
asked about short texts made of the characters that it names; one that tries for ever is ended by the alarm.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import pkgutil
import re
import signal
from pathlib import Path
from re import _constants as codes
from re import _parser as parser

import pytest

import deploykit

LENGTH = 60
SECONDS = 0.5
"""Of processor time for one text. An expression that is merely slow needs a thousandth of that for so short a one."""
_PROGRAMS = ("__main__", "drivers", "default", "migrations")
_CLASSES = {
    codes.CATEGORY_SPACE: " ",
    codes.CATEGORY_WORD: "a",
    codes.CATEGORY_DIGIT: "1",
    codes.CATEGORY_NOT_SPACE: "a",
    codes.CATEGORY_NOT_WORD: "-",
    codes.CATEGORY_NOT_DIGIT: "a",
}


def patterns() -> dict[str, re.Pattern]:
    """Every expression of the kit: what modules keep, also within tuples, tables and frozen values, and literals."""
    found = {}
    home = Path(deploykit.__file__).parent
    for path in sorted(home.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args
            if is_call and getattr(node.func.value, "id", "") == "re" and isinstance(node.args[0], ast.Constant):
                flags = re.VERBOSE if "VERBOSE" in ast.unparse(node) else 0
                pattern = re.compile(node.args[0].value, flags)
                found.setdefault(pattern.pattern, (f"{path.relative_to(home)}:{node.lineno}", pattern))
    for module in pkgutil.walk_packages(deploykit.__path__, "deploykit."):
        if not any(part in module.name.split(".") for part in _PROGRAMS):
            for name, value in vars(importlib.import_module(module.name)).items():
                for pattern in _inside(value, 4):
                    found.setdefault(pattern.pattern, (f"{module.name}.{name}", pattern))
    return {f"{where} {number}": pattern for number, (where, pattern) in enumerate(found.values())}


def _inside(value: object, depth: int):
    if isinstance(value, re.Pattern):
        yield value
    elif depth and isinstance(value, dict):
        yield from itertools.chain.from_iterable(_inside(each, depth - 1) for each in value.values())
    elif depth and isinstance(value, (tuple, list, frozenset, set)):
        yield from itertools.chain.from_iterable(_inside(each, depth - 1) for each in value)
    elif depth and hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        yield from _inside([getattr(value, name) for name in value.__dataclass_fields__], depth - 1)


def _parts(node, above: int = 0):
    """Each operation of a parsed expression, and how many unbounded repetitions it is in."""
    for op, argument in node:
        yield op, argument, above
        inner = above
        if op in {codes.MAX_REPEAT, codes.MIN_REPEAT}:
            inner += argument[1] > 20
        for each in _nodes(argument):
            yield from _parts(each, inner)


def _nodes(argument):
    if isinstance(argument, parser.SubPattern):
        yield argument
    elif isinstance(argument, (tuple, list)):
        for each in argument:
            yield from _nodes(each)


def is_nested(pattern: re.Pattern) -> bool:
    parsed = parser.parse(pattern.pattern, pattern.flags)
    repeats = {codes.MAX_REPEAT, codes.MIN_REPEAT}
    return any(op in repeats and argument[1] > 20 and above for op, argument, above in _parts(parsed))


def characters(pattern: re.Pattern) -> list[str]:
    """Characters that the expression can tell apart."""
    found = dict.fromkeys("a'\" ")
    for op, argument, _ in _parts(parser.parse(pattern.pattern, pattern.flags)):
        for code, value in [(op, argument), *(argument if op is codes.IN else ())]:
            if code in {codes.LITERAL, codes.NOT_LITERAL}:
                found[chr(value)] = None
            elif code is codes.RANGE:
                found[chr(value[0])] = None
            elif code is codes.CATEGORY:
                found[_CLASSES[value]] = None
    return list(found)[:14]


class TooLong(Exception):
    pass


def _ring(*_: object) -> None:
    raise TooLong


def is_exponential(pattern: re.Pattern) -> str:
    before = signal.signal(signal.SIGVTALRM, _ring)
    try:
        for first, *pair in itertools.product(characters(pattern), repeat=3):
            for text in (first + "".join(pair) * (LENGTH // 2), first + pair[0] * LENGTH + pair[1]):
                signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
                try:
                    for ask in (pattern.match, pattern.search):
                        ask(text.encode() if isinstance(pattern.pattern, bytes) else text)
                except TooLong:
                    return text
                finally:
                    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    finally:
        signal.signal(signal.SIGVTALRM, before)
    return ""


NESTED = {name: pattern for name, pattern in patterns().items() if is_nested(pattern)}


def test_the_attack_finds_an_expression_that_tries_for_ever():
    bad = re.compile(r"\(((?:[^()']|'(?:[^'\\]|\\.|'')*')*)\)")
    assert is_nested(bad)
    assert is_exponential(bad)
    assert len(NESTED) > 5


@pytest.mark.parametrize("name", sorted(NESTED))
def test_no_expression_of_the_kit_tries_for_ever(name):
    assert is_exponential(NESTED[name]) == ""
