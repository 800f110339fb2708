"""Nothing from outside reaches a terminal, a log or a continuous integration as a command."""

from __future__ import annotations

import ast
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploykit.model.printable import is_harmless, painted, printable, printed, with_colours

KIT = Path(__file__).parents[3] / "deploykit"
BIDI = {*map(chr, (0x61C, 0x200E, 0x200F)), *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}
ANYTHING = st.text(st.characters()) | st.text("\\xu01b9f\x1b\x9b\u202e\ud800\n:#[ ").map(str)


def harmless(text: str) -> bool:
    return not any(unicodedata.category(one) in {"Cc", "Cs", "Zl", "Zp"} or one in BIDI for one in text)


def read_back(text: str) -> str:
    def one(found: re.Match[str]) -> str:
        slashes, escape = found[1], found[2]
        half = "\\" * (len(slashes) // 2)
        return half + (chr(int(escape[1:], 16)) if len(slashes) % 2 else escape)

    return re.sub(r"(\\+)(x[0-9a-f]{2}|u[0-9a-f]{4})", one, text)


@given(ANYTHING)
@example("x\n\x1b[2K…secrets: PASSED")
@example("\\x1b")
@example("\\\x1b")
@example("\\\\x1b\x7f\x85\u2028\u2066\udcff")
def test_any_text_is_harmless_and_can_be_read_back(text):
    assert harmless(printable(text))
    assert is_harmless(printable(text))
    assert is_harmless(text) == harmless(text)
    assert read_back(printable(text)) == text


@given(ANYTHING)
def test_no_line_is_a_command_or_has_a_colour_that_the_kit_has_not_painted(text):
    line = printed(text)
    assert harmless(line)
    assert not line.lstrip().startswith("::")
    assert "##[" not in line


def test_plain_text_stays_as_it_is():
    for text in ("a/b c.py:3: S101 found", r"C:\new\table \d+ \\server", "Grüße, 東京 ✓ 👩‍💻", "std::string"):
        assert printable(text) == printed(text) == text


def test_a_tab_stays_where_it_is_asked_for():
    assert printable("a\tb\x1b", keep="\t") == "a\tb\\x1b"


def test_what_the_kit_paints_is_in_colour_and_what_is_painted_is_escaped():
    assert printed(painted("error: \x1b[2K", "1;31")) == "\x1b[1;31merror: \\x1b[2K\x1b[0m"


@pytest.mark.parametrize("hidden", ["\x1b[8mx", "\x1b[1;8mx", "\x1b[2Kx", "\x1b]0;x\x07", "\x9b31mx", "\x1b[38;5;1mx"])
def test_of_a_tool_only_its_colours_stay(hidden):
    assert with_colours("\x1b[1;31mFAILED\x1b[0m a\tb") == "\x1b[1;31mFAILED\x1b[0m a\tb\x1b[0m"
    assert "\x1b[8" not in with_colours(hidden)
    assert harmless(with_colours(hidden))


MAY_WRITE = re.compile(r"\bprint\(|\b(?:stdout|stderr|stream)\.write")
STREAMS = {"sys.stdout", "sys.stderr", "stream", "self.stream"}
SINKS = {
    # Through `printed`.
    "tasks/output.py",
    "sessions/output.py",
    # What a terminal draws itself, in text that the kit has made; `TerminalReporter` gives it what is printed already.
    "tasks/terminal.py",
    "tasks/spinner.py",
    # Annotations for GitHub, in its own form.
    "gates/run.py",
    # JSON lines for programs, all of it ASCII.
    "tasks/events.py",
    # JSON for the process that has asked, and a page that is made from the rules.
    "tasks/one_gate.py",
    "schema/lint/__main__.py",
    "schema/lint/rules/page.py",
    "artifacts/python_facts.py",
    "schema/in_app/command.py",
    # The supervisor's own log.
    "process/supervisor/daemon/lease.py",
    # Runs where the kit is not; what it says comes back to the kit, which prints it.
    "schema/in_app/alembic_environment.py",
    # The board's own start, with the name of a module of its own.
    "board/__main__.py",
}


def test_only_the_few_places_that_escape_write_to_a_standard_stream():
    found = set()
    for path in KIT.rglob("*.py"):
        name, text = path.relative_to(KIT).as_posix(), path.read_text()
        if "drivers" in path.parts or not MAY_WRITE.search(text):
            continue
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Call):
                continue
            called = node.func
            if (isinstance(called, ast.Name) and called.id == "print") or (
                isinstance(called, ast.Attribute)
                and called.attr in {"write", "writelines"}
                and ast.unparse(called.value) in STREAMS
                and (name.startswith(("tasks/", "sessions/")) or "sys" in ast.unparse(called.value))
            ):
                found.add(name)
    assert found <= SINKS, found - SINKS
    assert {"tasks/output.py", "sessions/output.py"} <= found
