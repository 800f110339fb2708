"""What a column wears besides its values: privileges of its own, its comment, statistics.

The new column has them, and the old one again.
"""

from __future__ import annotations

import contextlib
import uuid
from functools import partial

import psycopg
import pytest
from changed_database import Case, Shape, changed_database
from psycopg import sql
from schema_cases import CASES

from deploykit.schema.in_app.changes.operations.registry import DECLARATIONS as DECLARE

pytestmark = pytest.mark.timeout(120)
BY_NAME = {case.name: case for case in CASES}
NEW = {
    "rename_column": (("t", "price", "cost"),),
    "change_type": (("t", "price", "price_2"),),
    "change_type_partitioned": (("t", "price", "price_2"),),
    "split_column": (("t", "name", "first"), ("t", "name", "last")),
    "merge_columns": (("t", "first", "name"), ("t", "last", "name")),
    "change_enum": (("t", "m", "m_2"),),
    "change_key_serial": (("t", "id", "id_2"), ("t", "parent", "parent_2"), ("r", "t_id", "t_id_2")),
    "change_key_identity": (("t", "id", "id_2"), ("t", "parent", "parent_2"), ("r", "t_id", "t_id_2")),
}
"""Table, old column and new column."""


@pytest.fixture
def roles(database):
    """A clerk with all that can be granted on columns, one who only reads, and one who may hand that on."""
    names = [f'{what} "{uuid.uuid4().hex[:8]}"' for what in ("Clerk", "reader", "chief")]
    with psycopg.connect(database, autocommit=True) as connection:
        for name in names:
            connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
    yield names
    with psycopg.connect(database, autocommit=True) as connection:
        for name in names:
            connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(name)))


def granted(url: str, case: Case, roles: list[str]) -> None:
    clerk, reader, chief = map(sql.Identifier, roles)
    with psycopg.connect(url, autocommit=True) as connection:
        for table in case.tables:
            name = sql.Identifier(table)
            columns = [
                row[0]
                for row in connection.execute(
                    "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0", [table]
                )
            ]
            every = sql.SQL(", ").join(map(sql.Identifier, columns))
            for text in (
                "GRANT SELECT ({every}), INSERT ({every}), UPDATE ({every}) ON {name} TO {clerk}",
                "GRANT SELECT ({every}) ON {name} TO {reader}, PUBLIC",
                "GRANT SELECT ({every}) ON {name} TO {chief} WITH GRANT OPTION",
            ):
                connection.execute(
                    sql.SQL(text).format(every=every, name=name, clerk=clerk, reader=reader, chief=chief)
                )
            for column in columns:
                connection.execute(
                    sql.SQL("COMMENT ON COLUMN {}.{} IS {}").format(
                        name, sql.Identifier(column), sql.Literal(f"what {column} is; it's DROP DEFAULT \\")
                    )
                )
        connection.execute(sql.SQL("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {}").format(clerk))


def works(url: str, role: str, *shapes: Shape, upserts: bool = False) -> None:
    """Each shape's own statements, by a role with nothing but privileges on columns."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        for value, shape in enumerate(shapes, 5):
            key = connection.execute(shape.insert, {"v": value}).fetchone()[0]
            statements = [shape.update, *([shape.upsert] if upserts and shape.upsert else [])]
            for more, statement in enumerate(statements, 10):
                assert connection.execute(statement, {"v": value + more, "id": key}).rowcount == 1
                for other in shapes:
                    assert connection.execute(other.read, {"id": key}).fetchone() == (value + more,)


def can(url: str, role: str, table: str, column: str) -> set[str]:
    wanted = ("SELECT", "INSERT", "UPDATE", "REFERENCES", "SELECT WITH GRANT OPTION")
    with psycopg.connect(url) as connection:
        return {
            name
            for name in wanted
            if connection.execute(
                "SELECT has_column_privilege(%s::name, %s::regclass, %s, %s)", [role, table, column, name]
            ).fetchone()[0]
        }


def comments(url: str, table: str) -> dict[str, str | None]:
    with psycopg.connect(url) as connection:
        return dict(
            connection.execute(
                "SELECT attname, col_description(attrelid, attnum) FROM pg_attribute "
                "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
                [table],
            ).fetchall()
        )


@pytest.mark.parametrize("name", NEW)
def test_privileges_and_comments_go_along_and_come_back(database, roles, name: str):
    case = BY_NAME[name]
    clerk, reader, chief = roles
    with changed_database(database, case, seed=20) as found:
        granted(database, case, roles)
        before = found.definition()
        said = {table: comments(database, table) for table in case.tables}

        def check(index: int) -> None:
            for triple in NEW[name]:
                table, column = triple[0], triple[index]
                assert can(database, clerk, table, column) == {"SELECT", "INSERT", "UPDATE"}
                assert can(database, reader, table, column) == {"SELECT"}
                assert can(database, chief, table, column) == {"SELECT", "SELECT WITH GRANT OPTION"}
                text = "; ".join(said[table][old] for _, old, new in NEW[name] if column in {old, new})
                assert comments(database, table)[column] == (said[table][column] if index == 1 else text)

        assert case.new is not None
        change = case.declare()
        found.runner.expand(change)
        check(2)
        works(database, clerk, case.old, case.new, upserts=True)
        found.runner.fill(change.key)
        works(database, clerk, case.old, case.new)
        found.runner.contract(change.key, "the test")
        works(database, clerk, case.new)
        check(2)
        found.runner.reopen(change.key)
        check(1)
        check(2)
        works(database, clerk, case.old, case.new)
        found.runner.undo(change.key)
        works(database, clerk, case.old)
        assert found.definition() == before


MOVED = {
    "split_table": (("t", "price", "profile", "price"), ("t", "bio", "profile", "bio")),
    "move_column": (("t", "price", "account", "price"),),
    "rename_table": (),
}


@pytest.mark.parametrize("name", MOVED)
def test_privileges_and_comments_go_along_to_another_table(database, roles, name: str):
    case = BY_NAME[name]
    clerk, reader, chief = roles
    assert case.new is not None
    with changed_database(database, case, seed=20) as found:
        granted(database, case, roles)
        before = found.definition()

        def check(place: int) -> None:
            for moved in MOVED[name]:
                table, column = moved[place : place + 2]
                assert can(database, clerk, table, column) == {"SELECT", "INSERT", "UPDATE"}
                assert can(database, reader, table, column) == {"SELECT"}
                assert can(database, chief, table, column) == {"SELECT", "SELECT WITH GRANT OPTION"}
                assert (comments(database, table)[column] or "").startswith(f"what {moved[1]} is")

        change = case.declare()
        found.runner.expand(change)
        check(2)
        works(database, clerk, case.old, case.new)
        found.runner.fill(change.key)
        works(database, clerk, case.old, case.new)
        found.runner.contract(change.key, "the test")
        works(database, clerk, case.new)
        check(2)
        found.runner.reopen(change.key)
        check(0)
        works(database, clerk, case.old, case.new)
        found.runner.undo(change.key)
        works(database, clerk, case.old)
        assert found.definition() == before


def test_a_dropped_column_comes_back_with_its_privileges(database, roles):
    case = BY_NAME["drop_column"]
    with changed_database(database, case, seed=20) as found:
        granted(database, case, roles)
        before = found.definition()
        change = case.declare()
        found.runner.expand(change)
        found.runner.fill(change.key)
        found.runner.contract(change.key, "the test")
        found.runner.reopen(change.key)
        works(database, roles[0], case.old)
        found.runner.undo(change.key)
        assert found.definition() == before


def test_who_has_no_rights_on_the_other_table_writes_on(database, roles):
    """The sync writes there with the rights of whoever made it."""
    case = BY_NAME["move_column"]
    with changed_database(database, case, seed=20) as found, psycopg.connect(database, autocommit=True) as connection:
        old, new = map(sql.Identifier, roles[:2])
        for text in (
            "GRANT SELECT, INSERT, UPDATE, DELETE ON t TO {old}",
            "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {old}, {new}",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON account TO {new}",
        ):
            connection.execute(sql.SQL(text).format(old=old, new=new))
        change = case.declare()
        found.runner.expand(change)
        found.runner.fill(change.key)
        connection.execute(sql.SQL("SET ROLE {}").format(old))
        connection.execute("INSERT INTO t (note, price) VALUES ('n', 4)")
        assert connection.execute("UPDATE t SET price = 77 WHERE id = 2").rowcount == 1
        assert connection.execute("DELETE FROM t WHERE id = 3").rowcount == 1
        connection.execute(sql.SQL("SET ROLE {}").format(new))
        assert connection.execute("SELECT price FROM account WHERE t_id = 2").fetchone() == (77,)
        assert connection.execute("UPDATE account SET price = 78 WHERE t_id = 2").rowcount == 1
        assert connection.execute("DELETE FROM account WHERE t_id = 4").rowcount == 1
        connection.execute("RESET ROLE")
        assert connection.execute("SELECT id, price FROM t WHERE id IN (2, 4) ORDER BY id").fetchall() == [
            (2, 78),
            (4, None),
        ]


@pytest.mark.parametrize("database", [18], indirect=True)
def test_privileges_on_a_partition_go_along(database, roles):
    case = BY_NAME["change_type_partitioned"]
    with changed_database(database, case, seed=20) as found:
        with psycopg.connect(database, autocommit=True) as connection:
            role = sql.Identifier(roles[1])
            connection.execute(sql.SQL("GRANT SELECT (price) ON t_1 TO {}").format(role))
        before = found.definition()
        change = case.declare()
        found.runner.expand(change)
        assert can(database, roles[1], "t_1", "price_2") == {"SELECT"}
        assert can(database, roles[1], "t", "price_2") == set()
        found.runner.fill(change.key)
        found.runner.contract(change.key, "the test")
        found.runner.reopen(change.key)
        found.runner.undo(change.key)
        assert found.definition() == before


@pytest.mark.parametrize("database", [18], indirect=True)
def test_a_merged_column_is_for_whoever_may_use_a_part_and_that_is_said(database, roles):
    case = BY_NAME["merge_columns"]
    with changed_database(database, case, seed=20) as found:
        with psycopg.connect(database, autocommit=True) as connection:
            role = sql.Identifier(roles[1])
            connection.execute(sql.SQL("GRANT SELECT (first), UPDATE (last) ON t TO {}").format(role))
            connection.execute("COMMENT ON COLUMN t.first IS 'a name'; COMMENT ON COLUMN t.last IS 'a name'")
        change = case.declare()
        found.runner.expand(change)
        assert can(database, roles[1], "t", "name") == {"SELECT", "UPDATE"}
        assert comments(database, "t")["name"] == "a name"
        notes = found.runner.known(change.key).steps.notes
        assert any("has SELECT on first only" in note for note in notes), notes
        assert any("has UPDATE on last only" in note for note in notes), notes


def statistics(url: str) -> dict[str, tuple[str, bool]]:
    """By name, the definition without it, and whether anything was counted."""
    with psycopg.connect(url) as connection:
        return {
            row[0]: (row[1].partition(row[0])[2].strip(), row[2])
            for row in connection.execute(
                "SELECT s.stxname, pg_get_statisticsobjdef(s.oid), EXISTS (SELECT FROM pg_statistic_ext_data d WHERE"
                " d.stxoid = s.oid) FROM pg_statistic_ext s"
            )
        }


@contextlib.contextmanager
def counted(url: str, case: Case, *made: str):
    with changed_database(url, case, seed=50) as found:
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in made:
                connection.execute(statement)
        yield found


def test_statistics_go_along_and_come_back(database):
    case = BY_NAME["change_type"]
    made = (
        "CREATE STATISTICS price_note (ndistinct) ON price, note FROM t",
        "CREATE STATISTICS sum ON (price + other) FROM t",
        "CREATE STATISTICS untouched ON note, other FROM t",
    )
    with counted(database, case, *made) as found:
        before = found.definition()
        change = case.declare()
        found.runner.expand(change)
        found.runner.fill(change.key)
        assert statistics(database)["price_2_note"] == ("(ndistinct) ON note, price_2 FROM t", True)
        found.runner.contract(change.key, "the test")
        assert set(statistics(database)) == {"price_2_note", "untouched"}
        notes = found.runner.known(change.key).steps.notes
        assert [note for note in notes if "statistics" in note] == [
            "the statistics sum on (price + other) have no successor: make them by op.expand_execute"
        ]
        found.runner.reopen(change.key)
        found.runner.undo(change.key)
        assert found.definition() == before


def test_statistics_of_expressions_and_partitions_go_along_with_a_new_name(database):
    case = BY_NAME["change_type_partitioned"]
    rename = partial(DECLARE["rename_column"], "t", "price", "cost", change="c")
    made = (
        "CREATE STATISTICS sum ON (price + id), note FROM t",
        "CREATE STATISTICS of_part ON price, note FROM t_1",
    )
    with counted(database, case, *made) as found:
        before = found.definition()
        change = rename()
        found.runner.expand(change)
        found.runner.fill(change.key)
        found.runner.contract(change.key, "the test")
        now = statistics(database)
        assert set(now) == {"sum_cost", "of_part_cost"}
        assert "(cost + id)" in now["sum_cost"][0]
        assert now["of_part_cost"][1]
        found.runner.reopen(change.key)
        found.runner.undo(change.key)
        assert found.definition() == before


@pytest.mark.parametrize("database", [18], indirect=True)
def test_statistics_that_are_left_behind_are_said(database):
    with counted(database, BY_NAME["split_column"], "CREATE STATISTICS s ON name, note FROM t") as found:
        change = BY_NAME["split_column"].declare()
        found.runner.expand(change)
        notes = found.runner.known(change.key).steps.notes
        assert any("statistics s on" in note for note in notes), notes
