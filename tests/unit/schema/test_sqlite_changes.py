"""Declared changes on SQLite: every kind through its life and back, on real databases."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa

from deploykit.schema.in_app.changes.model import Refused
from deploykit.schema.in_app.changes.operations import load
from deploykit.schema.in_app.changes.operations.registry import DECLARATIONS
from deploykit.schema.in_app.live.session import Session
from deploykit.schema.in_app.sqlite.planner import PLANS
from deploykit.schema.in_app.sqlite.runner import TABLE, SqliteRunner
from deploykit.schema.in_app.sqlite.shape import ColumnText, Shape

load()

ITEMS = (
    "CREATE TABLE items (id INTEGER NOT NULL, name VARCHAR(40) COLLATE NOCASE NOT NULL, price VARCHAR(20) DEFAULT '0'"
    " NOT NULL, state VARCHAR(9) DEFAULT 'new, old' NOT NULL, note TEXT, PRIMARY KEY (id), CONSTRAINT items_name UNIQUE"
    " (name), CONSTRAINT items_price CHECK (length(price) < 9))"
)
ORDERS = (
    "CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, item_id INTEGER NOT NULL REFERENCES items (id) ON"
    " DELETE SET NULL, amount INTEGER, doubled INTEGER GENERATED ALWAYS AS (amount * 2) VIRTUAL) -- of customers,"
    " they say"
)
SETUP = (
    ITEMS,
    ORDERS,
    "CREATE INDEX ix_items_price ON items (price)",
    "CREATE INDEX ix_items_note ON items (lower(note)) WHERE note IS NOT NULL",
    "CREATE TABLE log (what TEXT)",
    "CREATE TRIGGER items_log AFTER UPDATE OF note ON items BEGIN INSERT INTO log VALUES (NEW.note); END",
    "INSERT INTO items (name, price, note) VALUES ('ann lee', '1', 'a'), ('bob ray', '2', NULL), ('cat roe', '3', 'c')",
    "INSERT INTO orders (item_id, amount) VALUES (1, 5), (2, 6)",
)


@dataclass(frozen=True)
class Case:
    """`insert` is what a new version writes, and `sees` what it reads of the first row.

    `lost`: the rows don't come back as they were.
    """

    kind: str
    arguments: tuple
    options: dict = field(default_factory=dict)
    insert: str = "INSERT INTO items (name) VALUES ('new one')"
    sees: tuple[str, object] = ("SELECT name FROM items WHERE id = 1", "ann lee")
    gone: str = ""
    setup: tuple[str, ...] = ()


CASES = {
    "rename_column": Case(
        "rename_column",
        ("items", "name", "title"),
        insert="INSERT INTO items (title) VALUES ('new one')",
        sees=("SELECT title FROM items WHERE id = 1", "ann lee"),
        gone="SELECT name FROM items",
    ),
    "change_type": Case(
        "change_type",
        ("items", "price", "integer"),
        {"up": "price::integer", "down": "price_2::text", "default": "0"},
        sees=("SELECT price_2 FROM items WHERE id = 1", 1),
        gone="SELECT price FROM items",
    ),
    "split_column": Case(
        "split_column",
        ("items", "name", {"first": "text", "last": "text"}),
        {
            "up": {"first": "substr(name, 1, 3)", "last": "substr(name, 5)"},
            "down": "first || ' ' || last",
            "required": ["first"],
        },
        insert="INSERT INTO items (first, last) VALUES ('new', 'one')",
        sees=("SELECT first || '/' || last FROM items WHERE id = 1", "ann/lee"),
        gone="SELECT name FROM items",
    ),
    "merge_columns": Case(
        "merge_columns",
        ("items", ["price", "note"], "both", "text"),
        {
            "up": "price || ':' || coalesce(note, '')",
            "down": {
                "price": 'substr("both", 1, instr("both", \':\') - 1)',
                "note": "nullif(substr(\"both\", instr(\"both\", ':') + 1), '')",
            },
            "nullable": False,
        },
        insert="INSERT INTO items (name, \"both\") VALUES ('new one', '7:x')",
        sees=('SELECT "both" FROM items WHERE id = 1', "1:a"),
        gone="SELECT price FROM items",
    ),
    "set_not_null": Case(
        "set_not_null",
        ("items", "note"),
        {"fill": "'none'"},
        insert="INSERT INTO items (name, note) VALUES ('new one', 'n')",
    ),
    "drop_not_null": Case(
        "drop_not_null",
        ("items", "state"),
        {"fill": "'new'"},
        insert="INSERT INTO items (name, state) VALUES ('new one', NULL)",
    ),
    "change_default": Case(
        "change_default",
        ("items", "price", "'9'"),
        sees=("SELECT dflt_value FROM pragma_table_info('items') WHERE name = 'price'", "'9'"),
    ),
    "add_column": Case(
        "add_column",
        ("items", "made", "timestamp with time zone"),
        {"default": "now()", "nullable": False},
        sees=("SELECT made IS NOT NULL FROM items WHERE id = 1", 1),
    ),
    "add_column filled": Case(
        "add_column",
        ("items", "size", "integer"),
        {"fill": "length(name)", "nullable": False},
        insert="INSERT INTO items (name, size) VALUES ('new one', 7)",
        sees=("SELECT size FROM items WHERE id = 1", 7),
    ),
    "add_column generated": Case(
        "add_column",
        ("items", "loud", "text"),
        {"generated": "upper(name)"},
        sees=("SELECT loud FROM items WHERE id = 1", "ANN LEE"),
    ),
    "drop_column": Case("drop_column", ("items", "note"), gone="SELECT note FROM items"),
    "drop_column filled": Case(
        "drop_column",
        ("items", "state"),
        {"fill": "'new'"},
        gone="SELECT state FROM items",
    ),
    "add_check": Case("add_check", ("items", "items_long", "length(name) > 2")),
    "add_foreign_key": Case(
        "add_foreign_key",
        ("parts", "parts_item", ["item"], "items", ["id"]),
        {"on_delete": "CASCADE"},
        setup=("CREATE TABLE parts (item INTEGER)", "INSERT INTO parts VALUES (1)"),
    ),
    "add_unique": Case("add_unique", ("items", "items_note", ["note"]), {"phase": "expand"}),
    "add_primary_key": Case(
        "add_primary_key",
        ("parts", "parts_pkey", ["item"]),
        setup=("CREATE TABLE parts (item INTEGER)", "INSERT INTO parts VALUES (1)"),
    ),
    "drop_constraint": Case(
        "drop_constraint",
        ("items", "items_price"),
        {"phase": "expand"},
        insert="INSERT INTO items (name, price) VALUES ('n', '1234567890')",
    ),
    "create_index": Case(
        "create_index", ("items", "ix_items_state", ["state", "name DESC"]), {"where": "state <> 'old'"}
    ),
    "drop_index": Case("drop_index", ("items", "ix_items_price")),
    "rebuild_index": Case("rebuild_index", ("items", "ix_items_price")),
    "rename_table": Case(
        "rename_table",
        ("items", "things"),
        insert="INSERT INTO things (name) VALUES ('new one')",
        sees=("SELECT name FROM things WHERE id = 1", "ann lee"),
        gone="SELECT 1 FROM items",
    ),
    "drop_table": Case("drop_table", ("log",), insert="SELECT 1", gone="SELECT 1 FROM log"),
    "execute": Case(
        "execute",
        ("shout",),
        {
            "table": "items",
            "expand": "UPDATE items SET price = price || '0'",
            "undo": "UPDATE items SET price = substr(price, 1, length(price) - 1)",
        },
        insert="SELECT 1",
        sees=("SELECT price FROM items WHERE id = 1", "10"),
    ),
    "add_enum_value": Case("add_enum_value", ("items", "state", "lost")),
    "change_enum": Case(
        "change_enum",
        ("items", "state", ["fresh"]),
        {"mapping": {"new, old": "fresh"}},
        insert="INSERT INTO items (name, state_2) VALUES ('new one', 'fresh')",
        sees=("SELECT state_2 FROM items WHERE id = 1", "fresh"),
        gone="SELECT state FROM items",
    ),
    "add_exclusion": Case("add_exclusion", ("items", "items_x", "USING gist (id WITH =)")),
    "attach_partition": Case("attach_partition", ("items", "log", "DEFAULT")),
    "detach_partition": Case("detach_partition", ("items", "log")),
    "split_table": Case(
        "split_table",
        ("items", ["note"], "notes"),
        {"key": "item_id"},
        sees=("SELECT note FROM notes WHERE item_id = 1", "a"),
        gone="SELECT note FROM items",
    ),
    "move_column": Case(
        "move_column",
        ("items", "note", "details"),
        {"on": {"id": "item_id"}},
        sees=("SELECT note FROM details WHERE item_id = 1", "a"),
        gone="SELECT note FROM items",
        setup=("CREATE TABLE details (item_id INTEGER UNIQUE)", "INSERT INTO details SELECT id FROM items"),
    ),
    "change_key": Case(
        "change_key",
        ("items", "id", "bigint"),
        insert="INSERT INTO orders (item_id_2, amount) SELECT max(id_2), 1 FROM items",
        sees=("SELECT i.name FROM items i JOIN orders o ON o.item_id_2 = i.id_2 WHERE o.id = 1", "ann lee"),
        gone="SELECT item_id FROM orders",
    ),
}


@pytest.fixture
def database(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'app.db'}", poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        session = Session(connection)
        for statement in SETUP:
            session.run(statement)
        yield session


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def runner(database, said):
    return SqliteRunner(database, said.append)


def shapes(session: Session) -> dict:
    """All that there is, without the kit's own table, white space, and the quotes around names."""
    found = {}
    for kind, name, table, sql in session.rows(
        "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL"
    ):
        if name == TABLE or name.startswith("sqlite_"):
            continue
        if kind == "table":
            shape = Shape.parse(name, sql)
            found[kind, name] = (tuple(" ".join(item.replace('"', "").split()) for item in shape.items), shape.tail)
        else:
            found[kind, name] = (table, sql.replace('"', ""))
    return found


def rows(session: Session) -> dict:
    return {
        name: sorted(map(repr, session.rows(f"SELECT * FROM {name}")))
        for (name,) in session.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
        if name not in {TABLE, "log"} and not name.startswith("sqlite_")  # a trigger writes log, as it should
    }


def declare(case: Case):
    return DECLARATIONS[case.kind](*case.arguments, change="c", **case.options)


def test_every_kind_has_a_plan_and_a_case():
    assert set(PLANS) == set(DECLARATIONS)
    assert {case.kind for case in CASES.values()} == set(DECLARATIONS)


@pytest.mark.parametrize("name", CASES)
def test_the_whole_life_and_back(database, runner, name):
    case = CASES[name]
    for statement in case.setup:
        database.run(statement)
    first, first_rows = shapes(database), rows(database)

    def serves() -> None:
        database.run("SAVEPOINT s")
        database.run(case.insert)
        assert database.value(case.sees[0]) == case.sees[1]
        database.run("ROLLBACK TO s")
        database.run("RELEASE s")

    # And back from the expanded shape.
    runner.begin(declare(case), "r1")
    serves()
    expanded = shapes(database)
    runner.undo("c")
    assert shapes(database) == first
    if case.kind != "set_not_null":  # what was filled stays
        assert rows(database) == first_rows
    # To the end, and back from there.
    runner.begin(declare(case), "r1")
    assert shapes(database) == expanded
    runner.contract("c")
    serves()
    if case.gone:
        with pytest.raises(sa.exc.OperationalError, match="no such"):
            database.rows(case.gone)
    contracted = shapes(database)
    runner.reopen("c")
    assert shapes(database) == expanded
    runner.contract("c")
    assert shapes(database) == contracted
    runner.undo("c")
    assert shapes(database) == first
    if not runner.known("c").plan.lost and case.kind != "set_not_null":
        assert rows(database) == first_rows
    assert database.value("PRAGMA foreign_keys") == 1
    assert not database.rows("PRAGMA foreign_key_check")


def test_what_a_new_version_wrote_is_there_on_the_way_back(database, runner):
    runner.begin(DECLARATIONS["rename_column"]("items", "name", "title", change="c"))
    database.run("INSERT INTO items (title) VALUES ('of the new one')")
    runner.undo("c")
    assert database.value("SELECT name FROM items WHERE id = 4") == "of the new one"


def test_constraints_and_indexes_follow_the_column(database, runner):
    runner.begin(DECLARATIONS["rename_column"]("items", "price", "cost", change="c"))
    runner.contract("c")
    shape = runner.shape("items")
    assert 'CONSTRAINT items_price CHECK (length("cost") < 9)' in shape.items
    assert 'CREATE INDEX ix_items_price ON items ("cost")' in shape.indexes
    with pytest.raises(sa.exc.IntegrityError):
        database.run("INSERT INTO items (name, cost) VALUES ('x', '1234567890')")
    assert shape.column("name").clause("collate") == "COLLATE NOCASE"
    assert shape.triggers


def test_the_number_of_a_deleted_row_is_not_given_again(database, runner):
    database.run("INSERT INTO orders (item_id) VALUES (3)")
    database.run("DELETE FROM orders WHERE id = 3")
    runner.begin(DECLARATIONS["rename_column"]("orders", "amount", "many", change="c"))
    runner.contract("c")
    database.run("INSERT INTO orders (item_id) VALUES (3)")
    assert database.value("SELECT max(id) FROM orders") == 4


def test_a_column_that_is_computed_of_another_follows_it(database, runner):
    runner.begin(DECLARATIONS["rename_column"]("orders", "amount", "many", change="c"))
    runner.contract("c")
    assert database.value("SELECT doubled FROM orders WHERE id = 1") == 10
    runner.undo("c")
    assert database.value("SELECT doubled FROM orders WHERE id = 2") == 12


def test_a_plan_that_fails_changes_nothing_and_says_what_helps(database, runner):
    before, data = shapes(database), rows(database)
    with pytest.raises(Refused, match="SQLite refuses it: no such function: initcap") as refused:
        runner.begin(DECLARATIONS["change_type"]("items", "name", "text", up="initcap(name)", change="c"))
    assert "nothing was changed" in refused.value.next_step
    assert (shapes(database), rows(database)) == (before, data)
    assert database.value("PRAGMA foreign_keys") == 1
    assert runner.all() == []


def test_rows_that_would_point_to_nothing_are_refused(database, runner):
    database.run("CREATE TABLE parts (item INTEGER)")
    database.run("INSERT INTO parts VALUES (77)")
    runner.begin(DECLARATIONS["add_foreign_key"]("parts", "parts_item", ["item"], "items", ["id"], change="c"))
    with pytest.raises(Refused, match="rows of parts would refer to none of items"):
        runner.contract("c")
    assert runner.known("c").phase == "filled"


def test_the_same_declaration_again_is_nothing_new_and_another_one_is_refused(database, runner, said):
    runner.begin(DECLARATIONS["rename_column"]("items", "name", "title", change="c"))
    said.clear()
    runner.begin(DECLARATIONS["rename_column"]("items", "name", "title", change="c"))
    assert said == []
    with pytest.raises(Refused, match="declared otherwise"):
        runner.begin(DECLARATIONS["rename_column"]("items", "name", "headline", change="c"))
    with pytest.raises(Refused, match="knows no change other"):
        runner.contract("other")


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (("rename_column", ("nowhere", "a", "b")), "there is no table nowhere"),
        (("rename_column", ("items", "nothing", "b")), "items has no column nothing"),
        (("rename_column", ("items", "name", "note")), "has a column note already"),
        (("rename_column", ("items", "id", "number")), "declare it by op.expand_change_key"),
        (("drop_index", ("items", "ix_nothing")), "items has no index ix_nothing"),
        (("drop_constraint", ("items", "nothing")), "items has no constraint nothing"),
        (("change_key", ("items", "name")), "name is not the primary key"),
    ],
)
def test_what_can_not_be_is_refused_in_a_sentence(runner, declared, words):
    kind, arguments = declared
    with pytest.raises(Refused) as refused:
        runner.begin(DECLARATIONS[kind](*arguments, change="c"))
    assert words in f"{refused.value} {refused.value.next_step}"


def test_a_table_is_read_word_by_word():
    sql = (
        'CREATE TABLE "odd ""one""" (a INTEGER PRIMARY KEY, -- the key, really\n "b,c" TEXT DEFAULT \'x, (y\' NOT NULL'
        " /* (why), */, [d] NUMERIC(10, 2) CONSTRAINT positive CHECK (d > 0) NOT NULL, e TEXT REFERENCES o (x) ON"
        ' DELETE SET NULL ON UPDATE SET DEFAULT NOT DEFERRABLE, UNIQUE (a, "b,c")) STRICT, WITHOUT ROWID'
    )
    shape = Shape.parse("odd", sql)
    assert shape.columns() == ["a", "b,c", "d", "e"]
    assert shape.tail == "STRICT, WITHOUT ROWID"
    assert shape.column("d").type == "NUMERIC(10, 2)"
    assert [what for what, _ in shape.column("d").clauses] == ["check", "not null"]
    assert [what for what, _ in shape.column("e").clauses] == ["references"]
    assert shape.column("b,c").without("not null").sql() == "\"b,c\" TEXT DEFAULT 'x, (y'"
    assert Shape.parse("odd", shape.sql("odd")) == shape
    assert ColumnText.parse("g GENERATED ALWAYS AS (a + 1) STORED").has("generated")
