"""Before anything is dropped all rows are compared again, whatever was found when they were filled."""

from __future__ import annotations

import psycopg
import pytest
from changed_database import changed_database
from schema_cases import CASES

from deploykit.schema.in_app.changes.model import Refused

pytestmark = pytest.mark.timeout(60)
BY_NAME = {case.name: case for case in CASES}
# No trigger fires for such a session, as for a replica's worker.
BEHIND = "SET session_replication_role = replica; "


@pytest.fixture
def filled(fresh_18, request):
    """The case's change with its rows filled and compared, and a connection."""
    case = BY_NAME[request.param]
    with fresh_18() as url, changed_database(url, case, seed=30) as found:
        change = case.declare()
        found.runner.expand(change)
        found.runner.fill(change.key)
        with psycopg.connect(url, autocommit=True) as connection:
            yield found.runner, connection


@pytest.mark.parametrize("filled", ["change_type"], indirect=True)
def test_rows_that_differ_are_counted_and_named_by_key_and_nothing_is_dropped(filled):
    runner, connection = filled
    connection.execute(BEHIND + "UPDATE t SET price_2 = 77.77 WHERE id IN (7, 9)")
    with pytest.raises(Refused) as refused:
        runner.contract("c", "the soak is waived, no difference is")
    assert str(refused.value) == "rows of c that differ: 2 (t 7, t 9); nothing was dropped"
    assert refused.value.next_step == ("invoke db.verify shows their values; fix them, then: invoke db.contract")
    known = runner.known("c")
    assert (known.phase, known.times["verified_at"]) == ("filled", None)
    assert connection.execute("SELECT price FROM t WHERE id = 7").fetchone() is not None
    connection.execute("RESET session_replication_role; UPDATE t SET price = price + 1 WHERE id IN (7, 9)")
    runner.contract("c", "the test")
    assert runner.known("c").phase == "contracted"


@pytest.mark.parametrize(
    ("filled", "spoil", "said"),
    [
        ("rename_column", BEHIND + "UPDATE t SET cost = 123456", r"30 \(t 1, t 10, .* and 10 more\)"),
        ("move_column", BEHIND + "UPDATE account SET price = 5000 WHERE t_id = 3", r"1 \(t 3\)"),
        ("set_not_null", "UPDATE t SET price = NULL WHERE id = 4", r"1 \(t 4\)"),
    ],
    indirect=["filled"],
    ids=["the first of many rows are named", "rows of two tables", "what a constraint asks"],
)
def test_every_kind_of_comparison_is_made_again(filled, spoil, said):
    runner, connection = filled
    connection.execute(spoil)
    with pytest.raises(Refused, match=f"that differ: {said}; nothing was dropped"):
        runner.contract("c", "the test")


def broken_off(runner, *, before: str) -> list[str]:
    """Contract until a statement with the text is due; returns the comparisons that were run."""
    compared: list[str] = []
    run, rows = runner.session.run, runner.session.rows

    def noted(statement: str) -> None:
        if before and before in statement:
            raise KeyboardInterrupt
        if "count(*) FILTER (WHERE (((" in statement:
            compared.append(statement)

    runner.session.run = lambda statement: (noted(statement), run(statement))[1]
    runner.session.rows = lambda statement: (noted(statement), rows(statement))[1]
    try:
        runner.contract("c", "the test")
    except KeyboardInterrupt:
        pass
    finally:
        del runner.session.run, runner.session.rows
    return compared


@pytest.mark.parametrize("filled", ["change_type_partitioned"], indirect=True)
def test_a_comparison_that_was_broken_off_goes_on_where_it_was(filled):
    runner, connection = filled
    connection.execute("INSERT INTO t (id, note, price) VALUES (5000, 'in the second partition', 1)")
    first = broken_off(runner, before='FROM "public"."t_2" source WHERE (source."id")')
    assert ['"t_1" source' in text for text in first] == [True]
    assert runner.known("c").phase == "filled"
    second = broken_off(runner, before="")
    assert ['"t_2" source' in text for text in second] == [True]
    assert runner.known("c").phase == "contracted"


@pytest.mark.parametrize("filled", ["change_type"], indirect=True)
def test_a_contract_that_has_dropped_nothing_yet_compares_again(filled):
    runner, connection = filled
    broken_off(runner, before="DROP TRIGGER")
    assert runner.known("c").phase == "contracting"
    connection.execute(BEHIND + "UPDATE t SET price_2 = 77.77 WHERE id = 7")
    with pytest.raises(Refused, match=r"that differ: 1 \(t 7\)"):
        runner.contract("c", "the test")
    # It has not begun: the way back is open.
    runner.undo("c")
    assert runner.known("c").phase == "undone"
