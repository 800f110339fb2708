"""Where two changes meet: by what each does to which column."""

from __future__ import annotations

import pytest

from deploykit.schema.in_app.changes.model import Table, Use
from deploykit.schema.in_app.changes.uses import built_on, meeting, mentioned

HOWS = ("drop", "add", "sync", "default", "null", "object")
MEET = {frozenset(pair) for pair in [("add", "sync"), ("add", "default"), ("add", "null")]} | {
    frozenset([how]) for how in ("add", "sync", "default", "null")
}


def use(how: str, column: str = "x", table: str = "t") -> list[Use]:
    return [Use(Table(table, "app"), column, how)]


@pytest.mark.parametrize("one", HOWS)
@pytest.mark.parametrize("other", HOWS)
def test_what_meets_on_one_column(one, other):
    expected = "drop" in {one, other} or frozenset([one, other]) in MEET
    assert bool(meeting(use(one), use(other))) is expected
    assert bool(meeting(use(one), use(other, "*"))) is expected
    assert meeting(use(one), use(other, "y")) is None
    assert meeting(use(one), use(other, "x", "u")) is None


def test_an_index_may_be_built_on_a_new_column_and_keeps_it():
    assert meeting(use("add"), use("object")) is None
    assert built_on(use("add"), use("object")) == use("add")[0]
    assert built_on(use("drop"), use("object")) is None


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("lower(Price) > 3", ["price"]),
        ({"up": 'x."Total"', "columns": ["price"]}, ["price", "Total"]),
        ("prices", []),
        ("a-b", ["a-b"]),
        ("total", []),
    ],
)
def test_columns_that_a_declaration_mentions(value, found):
    assert mentioned(value, ["price", "Total", "a-b"]) == found
