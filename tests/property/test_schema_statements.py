"""However a statement is written, what it takes away is seen."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from deploykit.schema.in_app.statements import classify

STATEMENTS = [
    "DROP TABLE a",
    "DROP TABLE IF EXISTS s.a CASCADE",
    "ALTER TABLE a DROP COLUMN b",
    "ALTER TABLE ONLY a DROP b , ADD c int",
    "ALTER TABLE a RENAME TO b",
    "ALTER TABLE a RENAME COLUMN b TO c",
    "ALTER TABLE a ALTER COLUMN b TYPE int",
    "ALTER TABLE a ALTER b SET NOT NULL",
    "ALTER TABLE a ADD b int NOT NULL",
    "TRUNCATE a",
    "DROP VIEW a",
    "DROP SCHEMA a",
]
gaps = st.text(" \t\n", min_size=1, max_size=3) | st.sampled_from(
    ["/**/", " /* ' \" $$ ; */ ", " -- x'\n", "\n--;\n", "/* a /* b */ c */"]
)
harmless = st.sampled_from(
    [
        "",
        "SELECT 1;",
        "INSERT INTO x VALUES ('a;b''c');",
        "COMMENT ON TABLE x IS E'\\'; ';",
        "CREATE FUNCTION f() AS $b$ ; ' $b$;",
    ]
)


@given(st.sampled_from(STATEMENTS), st.data(), harmless, harmless)
def test_space_comments_case_and_neighbours_hide_nothing(statement, data, before, after):
    words = re.findall(r"\w+|\S", statement)
    text = ""
    for word in words:
        text += data.draw(gaps)
        text += "".join(data.draw(st.sampled_from([char.lower(), char.upper()])) for char in word)
    plain = [{**item, "type": None} for item in classify(statement)]
    found = [{**item, "type": None} for item in classify(f"{before}{text}{data.draw(gaps)};{after}")]
    assert [item for item in found if item in plain] == plain
    assert plain[0]["kind"] not in {"other", "unknown", "data"}


@given(st.text())
def test_any_text_is_answered(text):
    for item in classify(text):
        assert item["kind"]


@given(st.text(alphabet="ALTERDROPTBN abc,;()'\"$-/*\n", max_size=80))
def test_any_near_sql_is_answered(text):
    for item in classify(text):
        assert "kind" in item
