"""Every key that tomllib reads has a line, and the line is the one on which the key was written."""

from __future__ import annotations

import datetime as dt
import random
import tomllib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from deploykit.settings.toml_lines import key_lines

texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=12)
names = st.one_of(st.sampled_from(["a", "b", "tool", "deploykit", "a-b", "1"]), texts)
scalars = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.floats(allow_nan=False),
    texts,
    st.dates(min_value=dt.date(1, 1, 1)),
    st.datetimes(timezones=st.just(dt.UTC)),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=4)),
    max_leaves=12,
)
documents = st.dictionaries(names, values, max_size=6)


class Writer:
    """Writes a value as TOML in the form that `choices` picks, and keeps the line of each key as it goes."""

    def __init__(self, choices: random.Random) -> None:
        self.choices = choices
        self.out: list[str] = []
        self.line = 1
        self.lines: dict[tuple[str | int, ...], int] = {}

    def one_of(self, *choices: str) -> str:
        return self.choices.choice(choices)

    def sometimes(self) -> bool:
        return self.choices.random() < 0.5

    def write(self, text: str) -> None:
        self.out.append(text)
        self.line += text.count("\n")

    def note(self, path: tuple[str | int, ...]) -> None:
        self.lines.setdefault(path, self.line)

    def space(self, *, multiline: bool = False) -> None:
        self.write(self.one_of("", " ", "\t", *(["\n", " # ] } = \" '\n", "\n\n  "] if multiline else [])))

    def string(self, text: str, *, multiline: bool = True) -> str:
        escaped = "".join(char if " " <= char <= "~" and char not in '"\\' else f"\\U{ord(char):08x}" for char in text)
        forms = [f'"{escaped}"']
        if all(" " <= char <= "~" and char != "'" for char in text):
            forms.append(f"'{text}'")
        if multiline:
            forms += [
                f'"""{escaped}"""',
                f'"""\n{escaped}"""',
                f'"""\\\n   {escaped}"""' if text.strip(" \t\n") == text else f'"""{escaped}"""',
            ]
            if all(" " <= char <= "~" and char != "'" for char in text):
                forms += [f"'''{text}'''", f"'''\n{text}'''"]
        return self.one_of(*forms)

    def key(self, name: str) -> None:
        bare = name and all(char.isascii() and (char.isalnum() or char in "-_") for char in name)
        self.write(name if bare and self.sometimes() else self.string(name, multiline=False))

    def value(self, path: tuple[str | int, ...], value: Any) -> None:
        if isinstance(value, dict):
            self.write("{")
            for index, (name, inner) in enumerate(value.items()):
                self.write("," if index else "")
                self.space()
                self.pair((*path,), name, inner)
                self.space()
            self.write("}")
        elif isinstance(value, list):
            self.write("[")
            for index, inner in enumerate(value):
                self.write("," if index else "")
                self.space(multiline=True)
                self.note((*path, index))
                self.value((*path, index), inner)
                self.space(multiline=True)
            self.write(self.one_of("", ",") if value else "")
            self.space(multiline=True)
            self.write("]")
        elif isinstance(value, bool):
            self.write("true" if value else "false")
        elif isinstance(value, float):
            self.write(repr(value) if value not in {float("inf"), float("-inf")} else ("inf" if value > 0 else "-inf"))
        elif isinstance(value, int):
            self.write(str(value))
        elif isinstance(value, str):
            self.write(self.string(value))
        else:
            self.write(value.isoformat())

    def pair(self, table: tuple[str | int, ...], name: str, value: Any) -> None:
        self.note((*table, name))
        self.key(name)
        self.dotted(table, name, value)

    def dotted(self, table: tuple[str | int, ...], name: str, value: Any) -> None:
        self.space()
        if isinstance(value, dict) and len(value) == 1 and self.sometimes():
            (inner_name, inner) = next(iter(value.items()))
            self.write(".")
            self.space()
            self.note((*table, name, inner_name))
            self.key(inner_name)
            self.dotted((*table, name), inner_name, inner)
            return
        self.write("=")
        self.space()
        self.value((*table, name), value)

    def header(self, path: tuple[str | int, ...], opening: str, closing: str) -> None:
        self.write(opening)
        self.space()
        for index, name in enumerate(part for part in path if isinstance(part, str)):
            self.write("." if index else "")
            self.key(name)
            self.space()
        self.write(closing)
        self.space()
        self.write(self.one_of("\n", "# a comment\n", "\n\n"))

    def table(self, path: tuple[str | int, ...], table: dict[str, Any]) -> None:
        later = {}
        for name, value in table.items():
            tables = isinstance(value, list) and value and all(isinstance(item, dict) for item in value)
            if (isinstance(value, dict) or tables) and self.sometimes():
                later[name] = value
                continue
            self.write(self.one_of("", "  ", "\n", "# [not.a.table]\n"))
            self.pair(path, name, value)
            self.space()
            self.write(self.one_of("\n", "# it's = \"odd\n"))
        for name, value in later.items():
            if isinstance(value, dict):
                self.note((*path, name))
                self.header((*path, name), "[", "]")
                self.table((*path, name), value)
                continue
            for index, inner in enumerate(value):
                self.note((*path, name))
                self.note((*path, name, index))
                self.header((*path, name), "[[", "]]")
                self.table((*path, name, index), inner)


def paths_of(value: Any, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    found = {path} if path else set()
    if isinstance(value, dict):
        for name, inner in value.items():
            found |= paths_of(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found |= paths_of(inner, (*path, index))
    return found


@settings(max_examples=150)
@given(documents, st.integers(0, 2**32), st.sampled_from(["\n", "\r\n"]))
def test_every_key_path_of_a_document_has_the_line_it_was_written_on(document, seed, newlines):
    # One draw for all choices of form: a draw for each is what this test would spend its time on.
    writer = Writer(random.Random(seed))
    writer.table((), document)
    text = "".join(writer.out)
    text = text.replace("\n", newlines)
    parsed = tomllib.loads(text)
    lines = key_lines(text)
    assert set(lines) == paths_of(parsed)
    assert lines == writer.lines


@settings(max_examples=100)
@given(st.text(alphabet="ab=.[]{}\"'#\\\n\r ,1", max_size=60))
def test_whatever_tomllib_accepts_is_found(text):
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(key_lines(text)) == paths_of(parsed)
