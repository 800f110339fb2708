"""Declared changes on a developer's SQLite file: by bare Alembic, by the kit's commands, and found between models and
file.
"""

from __future__ import annotations

import sqlite3
import sys

import pytest
from schema_shop import alembic, change, declared, environment, upgrade

from deploykit.model import DeploykitError
from deploykit.process import run
from deploykit.schema.runner import inspect_command, parse

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "app.db"


@pytest.fixture
def url(file):
    return f"sqlite:///{file}"


@pytest.fixture
def sql(file):
    def run_it(text: str):
        connection = sqlite3.connect(file, isolation_level=None)
        try:
            return connection.execute(text).fetchall()
        finally:
            connection.close()

    return run_it


@pytest.fixture
def lite(shop):
    """The trunk, with a declaration in words that both databases know."""
    declared(
        shop,
        "op.expand_change_type('items', 'price', sa.Numeric(12, 2), up='price / 100.0', down='CAST(price_2 * 100 AS"
        " integer)', change='price')",
    )
    return shop


def inspect(shop, url):
    argv = inspect_command(sys.executable, "migrations", shop.root)
    return parse(run(argv, env=environment(url), cwd="/", timeout=60).stdout)


def columns(sql) -> list[str]:
    return [row[1] for row in sql("PRAGMA table_info(items)")]


def test_bare_alembic_goes_up_and_down_and_up(lite, url, sql):
    done = alembic(lite, url, "upgrade", "b")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the two shapes are not kept in sync" in done.stdout
    sql("INSERT INTO items (price_2) VALUES (1.5)")
    done = alembic(lite, url, "upgrade", "heads")
    assert done.returncode == 0, done.stdout + done.stderr
    assert columns(sql) == ["id", "price_2"]
    down = alembic(lite, url, "downgrade", "a")
    assert down.returncode == 0, down.stdout + down.stderr
    assert columns(sql) == ["id", "price"]
    assert sql("SELECT price FROM items") == [(150,)]
    again = alembic(lite, url, "upgrade", "heads")
    assert again.returncode == 0, again.stdout + again.stderr
    assert sql("SELECT price_2 FROM items") == [(1.5,)]


def test_the_commands_plan_expand_contract_and_undo(lite, url, sql):
    alembic(lite, url, "upgrade", "a")
    sql("INSERT INTO items (price) VALUES (250)")
    (planned,) = change(lite, url, "plan")["plans"]
    assert planned["phase"] == "declared"
    assert planned["programs"]["expand"][0]["sql"] == [
        '-- items: add "price_2" NUMERIC(12, 2), of price / 100.0',
        '-- items: price becomes "price" INTEGER',
    ]
    assert "one version runs at a time" in planned["notes"][0]
    assert change(lite, url, "status")["declared"][0]["key"] == "price"
    assert upgrade(lite, url).error == ""
    assert change(lite, url, "backfill") == {"error": None, "filled": []}
    assert change(lite, url, "verify") == {"error": None, "verified": []}
    (known,) = change(lite, url, "status")["changes"]
    assert (known["phase"], known["revision"]) == ("filled", "b")
    assert change(lite, url, "contract")["contracted"] == ["price"]
    assert change(lite, url, "contract")["contracted"] == []
    assert columns(sql) == ["id", "price_2"]
    assert change(lite, url, "undo", keys=["price"])["undone"] == ["price"]
    assert sql("SELECT id, price FROM items") == [(1, 250)]
    assert change(lite, url, "status")["changes"][0]["phase"] == "undone"


def test_what_does_not_go_is_told_in_a_sentence(lite, url):
    with pytest.raises(DeploykitError, match="other revisions are pending: a"):
        change(lite, url, "contract")
    upgrade(lite, url)
    with pytest.raises(DeploykitError, match="say which change"):
        change(lite, url, "undo")
    with pytest.raises(DeploykitError, match="knows no change other"):
        change(lite, url, "verify", keys=["other"])
    with pytest.raises(DeploykitError, match="no backfill to control on SQLite"):
        change(lite, url, "control", settings={"backfill.paused": "yes"})


def test_sql_that_sqlite_does_not_know_is_named_and_nothing_is_changed(lite, url, sql):
    declared(lite, "op.expand_change_type('items', 'price', sa.Text, up='to_char(price, 9)', change='price')")
    answer = upgrade(lite, url)
    assert "no such function: to_char" in "\n".join((answer.error, *answer.details))
    assert columns(sql) == ["id", "price"]


def test_another_database_is_refused_aloud(lite):
    with pytest.raises(DeploykitError, match="plain DDL; this is mysql: use Alembic's own operations"):
        change(lite, "mysql+pymysql://nobody@127.0.0.1:1/x", "status")


def test_what_was_undone_is_made_again_by_the_next_upgrade(lite, url, sql):
    assert not inspect(lite, url).changes
    upgrade(lite, url)
    change(lite, url, "undo", keys=["price"])
    assert columns(sql) == ["id", "price"]
    assert inspect(lite, url).changes, "so the kit asks for an upgrade although no revision is pending"
    again = upgrade(lite, url)
    assert (again.applied, again.changes) == ((), ("price",))
    assert columns(sql) == ["id", "price", "price_2"]


@pytest.mark.parametrize("action", ["status", "plan", "undo", "contract"])
def test_an_application_without_sqlalchemy_is_told_what_it_lacks(lite, url, tmp_path, action):
    bare = tmp_path / "bare"
    run([sys.executable, "-m", "venv", "--without-pip", str(bare)], timeout=60)
    with pytest.raises(DeploykitError, match="sqlalchemy is not installed in the application's environment") as told:
        change(lite, url, action, python=str(bare / "bin" / "python"))
    assert not any("Traceback" in line for line in told.value.details)
