"""Statements as they are written out."""

from __future__ import annotations

import pytest

from deploykit.ledger.queries import delete, insert, select, update
from deploykit.ledger.tables import CHAINS, RELEASES, TABLES

_SCOPE = {"app": "shop", "environment": "staging"}


def test_values_are_bound_and_names_are_quoted():
    where = {**_SCOPE, "commit": "'; DROP TABLE deploykit_releases; --"}
    query = select(RELEASES, where, columns=["id"], present="live_sequence", order=["-live_sequence", "id"], limit=1)
    assert (
        query.text.replace("deploykit_releases.", "")
        == 'SELECT "id" FROM deploykit_releases WHERE "app" = ? AND "environment" = ? AND "commit" = ?'
        ' AND "live_sequence" IS NOT NULL ORDER BY "live_sequence" DESC, "id" LIMIT ?'
    )
    assert query.text.count('deploykit_releases."') == query.text.count('"') // 2, "SQLite takes the others for texts"
    assert query.values == ["shop", "staging", "'; DROP TABLE deploykit_releases; --", 1]
    assert update(CHAINS, {"hash": "x"}, _SCOPE) == (
        (
            'UPDATE deploykit_chains SET "hash" = ? WHERE deploykit_chains."app" = ? AND'
            ' deploykit_chains."environment" = ?'
        ),
        ["x", "shop", "staging"],
    )


@pytest.mark.parametrize(
    "ask",
    [
        lambda: select(CHAINS, {"nothing": 1}),
        lambda: select(CHAINS, _SCOPE, columns=["nothing"]),
        lambda: select(CHAINS, _SCOPE, present="nothing"),
        lambda: select(CHAINS, _SCOPE, order=["-nothing"]),
        lambda: insert(CHAINS, {"nothing": 1}),
        lambda: update(CHAINS, {"nothing": 1}, _SCOPE),
        lambda: delete(CHAINS, {"nothing": 1}),
    ],
)
def test_a_column_that_is_none_never_reaches_a_database(ask):
    """SQLite takes an unknown name in double quotes for a text, and answers."""
    with pytest.raises(KeyError, match="nothing"):
        ask()


def test_no_name_holds_what_a_driver_takes_for_the_mark_of_a_value():
    for table in TABLES:
        assert not set("?%\"'") & set("".join([table.name, *table.names]))
