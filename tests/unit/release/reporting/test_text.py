from __future__ import annotations

import io
import os

import pytest

from deploykit.release.reporting import text
from deploykit.release.reporting.text import ago, columns, filled, width


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "just now"),
        (1, "1 s ago"),
        (59.9, "59 s ago"),
        (61, "1 min ago"),
        (7_300, "2 h ago"),
        (200_000, "2 d ago"),
    ],
)
def test_a_span_is_told_in_its_largest_unit(seconds, said):
    assert ago(seconds) == said


def test_a_span_to_come_has_no_ago():
    assert ago(0.2, suffix="") == "0 s"
    assert ago(61, suffix="") == "1 min"


@pytest.mark.parametrize(("terminal", "wide"), [(120, 120), (60, 60), (10, 40)])
def test_a_terminal_is_filled_and_a_pipe_has_80_columns(monkeypatch, terminal, wide):
    monkeypatch.setattr(text.shutil, "get_terminal_size", lambda _fallback: os.terminal_size((terminal, 24)))
    assert width(Terminal()) == wide
    assert width(io.StringIO()) == 80


def test_lines_are_filled_under_their_heads():
    assert filled("a wren and a finch sat in a tree", 20, first="says: ", rest="      ") == [
        "says: a wren and a",
        "      finch sat in a",
        "      tree",
    ]


def test_a_word_that_is_too_long_stays_whole():
    digest = "sha256:" + "a" * 40
    assert filled(f"it is {digest} now", 30, first="  ", rest="    ") == ["  it is", f"    {digest}", "    now"]


def test_words_with_hyphens_are_not_torn():
    assert filled("git check-ignore -v", 12) == ["git", "check-ignore", "-v"]


def test_an_empty_text_is_its_head():
    assert filled("", 80, first="  done  ") == ["  done"]


def test_columns_are_as_wide_as_they_need():
    assert columns(("A", "LONGER"), [("1234", "x"), ("5", "yy")], io.StringIO()) == [
        "A     LONGER",
        "1234  x",
        "5     yy",
    ]


def test_the_widest_column_is_cut_in_its_middle():
    name = "1.1.1.dev0+gabcdefg.d12345678" * 3
    (_, row) = columns(("VERSION", "OUTCOME"), [(name, "rolled back")], io.StringIO())
    assert len(row) == 80
    assert row.startswith("1.1.1.dev0")
    assert "…" in row
    assert row.endswith("d12345678  rolled back")


def test_what_cannot_be_cut_any_more_is_left():
    rows = columns(("A",) * 12, [("123456789",) * 12], io.StringIO())
    assert "…" not in rows[1]
