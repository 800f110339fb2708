"""The page about migrations has the rules as the code has them."""

from __future__ import annotations

from pathlib import Path

from deploykit.schema.lint.rules import RULES
from deploykit.schema.lint.rules.page import page

PAGE = Path(__file__).parents[3] / "docs" / "migrations.md"
MARK = "<!-- rules: python -m deploykit.schema.lint.rules.page -->\n\n"


def test_the_table_of_rules_is_the_one_that_the_code_makes():
    _, _, table = PAGE.read_text(encoding="utf-8").partition(MARK)
    assert table == page()


def test_every_rule_stands_on_the_page():
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in RULES if f"| `{name}`" not in text] == []
