"""Any sequence of writes of both versions leaves both shapes in step; the one that wrote last is the one that
counts.
"""

from __future__ import annotations

import psycopg
import pytest
from changed_database import changed_database
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schema_cases import CASES

CENTS = st.one_of(st.none(), st.integers(0, 9_999_999))
WRITES = st.lists(st.tuples(st.sampled_from(["old", "new", "other", "both"]), st.integers(0, 3), CENTS), max_size=12)


@pytest.fixture
def synced(fresh_18):
    """A table of a nullable price in cents, expanded to decimals; nothing is filled yet."""
    from deploykit.schema.in_app.changes.operations.registry import DECLARATIONS

    case = next(case for case in CASES if case.name == "set_not_null")  # its table has a price that may be NULL
    with fresh_18() as url, changed_database(url, case, seed=1) as found:
        change = DECLARATIONS["change_type"](
            "t", "price", "numeric(12,2)", up="price / 100.0", down="(price_2 * 100)::int", change="c"
        )
        found.runner.expand(change)
        with psycopg.connect(url, autocommit=True) as connection:
            yield connection


@pytest.mark.timeout(120)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=WRITES)
def test_both_sides_agree_after_every_write(synced, writes):
    synced.execute("TRUNCATE t")
    expected: dict[int, int | None] = {}
    for who, key, given_cents in writes:
        there, cents = key in expected, given_cents
        decimal = None if cents is None else f"{cents // 100}.{cents % 100:02}"
        if who == "other":
            synced.execute("UPDATE t SET note = 'x' WHERE id = %s", [key])
            continue
        if not there:
            column, value = ("price", cents) if who == "old" else ("price_2", decimal)
            synced.execute(f"INSERT INTO t (id, {column}) VALUES (%s, %s)", [key, value])
        elif who == "both":
            # The new side decides; the old value is nonsense on purpose. Where the new one stays, the old one's
            # change counts.
            before = expected[key]
            synced.execute("UPDATE t SET price = 1, price_2 = %s WHERE id = %s", [decimal, key])
            cents = 1 if cents == before else cents
        else:
            column, value = ("price", cents) if who == "old" else ("price_2", decimal)
            synced.execute(f"UPDATE t SET {column} = %s WHERE id = %s", [value, key])
        expected[key] = cents
        found = {
            row[0]: (row[1], row[2])
            for row in synced.execute("SELECT id, price, (price_2 * 100)::int FROM t").fetchall()
        }
        assert found == {number: (value, value) for number, value in expected.items()}


def test_a_session_that_says_its_shape_may_write_null_in_an_insert(synced):
    synced.execute("ALTER TABLE t ALTER price SET DEFAULT 7")
    synced.execute("INSERT INTO t (id, price_2) VALUES (100, NULL)")
    assert synced.execute("SELECT price, price_2::text FROM t WHERE id = 100").fetchone() == (7, "0.07")
    with synced.transaction():
        synced.execute("SET LOCAL deploykit.shape = ',other,c,'")
        synced.execute("INSERT INTO t (id, price_2) VALUES (101, NULL)")
    assert synced.execute("SELECT price, price_2 FROM t WHERE id = 101").fetchone() == (None, None)
