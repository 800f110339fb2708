"""Declared changes by bare Alembic and by the kit's commands in the application's environment, on a real PostgreSQL."""

from __future__ import annotations

import json
import sys
import threading
import time

import psycopg
import pytest
from schema_shop import EXPAND, alembic, change, declared, environment, upgrade, write

from deploykit.model import DeploykitError
from deploykit.process import run
from deploykit.schema.runner import (
    change_command,
    inspect_command,
    parse,
    parse_change,
)
from deploykit.schema.safety import unsafe_operations

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def url(database):
    return database.replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture
def sql(database):
    """Run a statement on a connection of its own, which is gone again: a database that is only being made has no
    others.
    """

    def run_it(text: str):
        with psycopg.connect(database, autocommit=True) as connection:
            cursor = connection.execute(text)
            return cursor.fetchall() if cursor.description else []

    return run_it


def facts(*running: str, release: str = "", **settings: str):
    return {
        "app": "shop",
        "environment": "production",
        "running": [{"id": name, "version": f"v-{name}"} for name in running],
        "release": {"id": release, "version": f"v-{release}"} if release else None,
        "settings": settings,
    }


def rows(sql, count: int = 500) -> None:
    sql(f"INSERT INTO items (price) SELECT g FROM generate_series(1, {count}) g")


def test_a_fresh_database_goes_through_at_once(shop, url, sql):
    done = alembic(shop, url, "upgrade", "heads")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [
        row[0]
        for row in sql("SELECT column_name FROM information_schema.columns WHERE table_name = 'items' ORDER BY 1")
    ] == ["id", "price_2"]
    down = alembic(shop, url, "downgrade", "base")
    assert down.returncode == 0, down.stdout + down.stderr
    again = alembic(shop, url, "upgrade", "heads")
    assert again.returncode == 0, again.stdout + again.stderr


def test_bare_alembic_is_refused_as_the_command_is(shop, url, sql):
    upgrade(shop, url)  # a and b, as a release does it
    rows(sql)
    sql("DELETE FROM items WHERE price_2 IS NULL")
    refused = alembic(shop, url, "upgrade", "heads")
    assert refused.returncode != 0
    assert "may not be contracted: it soaks for 24.0 h" in refused.stdout + refused.stderr
    offline = alembic(shop, url, "upgrade", "b:k", "--sql")
    assert offline.returncode == 0
    statement = offline.stdout.partition("DO $deploykit_gate$")[2]
    with pytest.raises(psycopg.errors.RaiseException, match="still soaks"):
        sql("DO $deploykit_gate$" + statement.partition("$deploykit_gate$;")[0] + "$deploykit_gate$")
    sql("INSERT INTO deploykit.setting VALUES ('soak', '0')")
    sql("INSERT INTO deploykit.release VALUES ('shop', 'production', 'r1', 'v1', ',other,', TRUE)")
    with pytest.raises(psycopg.errors.RaiseException, match="needed in its old shape by v1"):
        sql("DO $deploykit_gate$" + statement.partition("$deploykit_gate$;")[0] + "$deploykit_gate$")
    assert (
        "v1 (r1) still runs"
        in alembic(shop, url, "upgrade", "heads").stderr + alembic(shop, url, "upgrade", "heads").stdout
    )
    over = alembic(shop, url, "upgrade", "heads", DEPLOYKIT_CONTRACT_OVERRIDE="the test says so")
    assert over.returncode == 0, over.stdout + over.stderr
    ((reason,),) = sql("SELECT reason FROM deploykit.event WHERE what = 'override'")
    assert "the test says so" in reason
    assert "v1 (r1) still runs" in reason


def test_the_sql_of_a_contract_does_it_when_nothing_is_against_it(shop, url, sql):
    upgrade(shop, url, facts=facts(soak="0", restore_wanted="no"))
    rows(sql)
    change(shop, url, "verify")
    offline = alembic(shop, url, "upgrade", "b:k", "--sql").stdout
    statement = (
        "DO $deploykit_gate$"
        + offline.partition("DO $deploykit_gate$")[2].partition("$deploykit_gate$;")[0]
        + "$deploykit_gate$"
    )
    sql("INSERT INTO deploykit.setting VALUES ('restore_wanted', 'yes') ON CONFLICT (name) DO UPDATE SET value = 'yes'")
    with pytest.raises(psycopg.errors.RaiseException, match="wants a newer restore point"):
        sql(statement)
    sql("UPDATE deploykit.setting SET value = 'no' WHERE name = 'restore_wanted'")
    sql("SET session_replication_role = replica; UPDATE items SET price_2 = 0 WHERE id < 3")
    with pytest.raises(psycopg.errors.RaiseException, match="2 rows of price differ: invoke db.verify names them"):
        sql(statement)
    sql("SET session_replication_role = replica; UPDATE items SET price_2 = price / 100.0 WHERE id < 3")
    sql(statement)
    assert [
        row[0]
        for row in sql("SELECT column_name FROM information_schema.columns WHERE table_name = 'items' ORDER BY 1")
    ] == ["id", "price_2"]
    assert sql("SELECT phase FROM deploykit.change") == [("contracted",)]
    sql(statement)  # once more does nothing


def test_an_expand_without_a_database_is_refused(shop, url):
    done = alembic(shop, url, "upgrade", "a:b", "--sql")
    assert done.returncode != 0
    assert "can't be written without a database" in done.stdout + done.stderr


def test_a_revision_that_was_edited_after_it_was_applied_is_refused(shop, url, sql):
    alembic(shop, url, "upgrade", "b")
    declared(shop, EXPAND.replace("100.0", "1000.0"))
    sql("DELETE FROM alembic_version")
    sql("INSERT INTO alembic_version VALUES ('a')")
    done = alembic(shop, url, "upgrade", "b")
    assert done.returncode != 0
    assert "its revision was edited since" in done.stdout + done.stderr


def test_the_running_version_survives_what_is_declared(shop, url):
    found = parse(
        run(inspect_command(sys.executable, "migrations", shop.root), env=environment(url), cwd="/", timeout=60).stdout
    )
    assert [item.revision for item in found.pending or ()] == ["a", "b"]
    assert [item.kind for each in found.pending or () for item in each.operations] == ["create_table", "expand"]
    assert unsafe_operations(found) == ()
    assert found.unknown == ()


def test_releases_are_noted_and_keep_the_old_shape(shop, url, sql):
    upgrade(shop, url, facts=facts("r1", release="r2", soak="0", restore_wanted="no"))
    rows(sql)
    assert sql("SELECT id, changes, running FROM deploykit.release ORDER BY id") == [
        ("r1", "", True),
        ("r2", ",price,", True),
    ]
    with pytest.raises(DeploykitError, match=r"shop v-r1 \(r1\) still runs"):
        change(shop, url, "contract", facts=facts("r1", "r2", soak="0", restore_wanted="no"))
    answer = change(shop, url, "contract", facts=facts("r2", soak="0", restore_wanted="no"))
    assert answer["contracted"] == ["price"]
    assert sql("SELECT id, running, ended_at IS NOT NULL FROM deploykit.release ORDER BY id") == [
        ("r1", False, True),
        ("r2", True, False),
    ]
    with pytest.raises(DeploykitError, match="the new shape of price stays"):
        change(shop, url, "undo", keys=["price"], facts=facts("r2"))
    assert "price" in [
        row[0] for row in sql("SELECT column_name FROM information_schema.columns WHERE table_name = 'items'")
    ]
    assert change(shop, url, "undo", keys=["price"], override="nobody reads it", facts=facts("r2"))["undone"] == [
        "price"
    ]
    assert sql("SELECT count(*) FROM items WHERE price IS NULL") == [(0,)]


def test_rows_that_do_not_agree_are_named(shop, url, sql):
    upgrade(shop, url)
    rows(sql)
    sql("ALTER TABLE items DISABLE TRIGGER USER")
    sql("UPDATE items SET price_2 = 7 WHERE id IN (3, 4)")
    sql("ALTER TABLE items ENABLE TRIGGER USER")
    with pytest.raises(DeploykitError, match="2 rows of price don't agree") as raised:
        change(shop, url, "verify", keys=["price"])
    assert raised.value.details == ("row 3: 3 and 7.00", "row 4: 4 and 7.00")
    with pytest.raises(DeploykitError, match="not compared since they were filled, or not all agreed"):
        change(shop, url, "contract")
    sql("UPDATE items SET price = price WHERE id IN (3, 4)")
    sql("UPDATE items SET price_2 = price / 100.0 WHERE id IN (3, 4)")
    assert change(shop, url, "verify")["verified"] == ["price"]


def test_a_backfill_whose_connection_is_cut_connects_anew(shop, url, sql):
    alembic(shop, url, "upgrade", "a")
    rows(sql, 30_000)
    upgraded = upgrade(shop, url, fill=False)
    assert "the rows of price are not all there" in upgraded.error
    ended = threading.Event()
    cut: list[int] = []

    def cutter() -> None:
        while not ended.is_set() and not cut:
            found = sql(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'deploykit migrations' AND query LIKE"
                " '%price_2%'"
            )
            if found:
                cut.extend(row[0] for row in found)
                sql(f"SELECT pg_terminate_backend({found[0][0]})")
            time.sleep(0.005)

    thread = threading.Thread(target=cutter, daemon=True)
    thread.start()
    argv = change_command(
        "backfill", sys.executable, "migrations", shop.root, options={"pace": {"largest": 200, "speed": 0.5}}
    )
    done = run(argv, env=environment(url), cwd="/", timeout=90, check=False)
    ended.set()
    thread.join(5)
    assert cut, "nothing was cut, so nothing is shown"
    assert "the connection was lost" in done.stdout
    assert parse_change(done.stdout)["filled"] == ["price"]
    assert sql("SELECT count(*) FROM items WHERE price_2 IS DISTINCT FROM price / 100.0") == [(0,)]


@pytest.fixture
def all_connections(database, sql):
    """The URL of a role that may have three connections, and those."""
    sql("DROP ROLE IF EXISTS dk_few")
    sql("CREATE ROLE dk_few LOGIN CONNECTION LIMIT 3")
    sql(f"GRANT ALL ON DATABASE {sql('SELECT current_database()')[0][0]} TO dk_few")
    sql("GRANT ALL ON SCHEMA public TO dk_few")
    url = database.replace("postgres:@", "dk_few@").replace("postgres@", "dk_few@")
    assert url != database
    taken = [psycopg.connect(url) for _ in range(3)]
    yield url.replace("postgresql://", "postgresql+psycopg://"), taken
    for connection in taken:
        connection.close()
    sql("DROP OWNED BY dk_few")
    sql("DROP ROLE dk_few")


def test_a_server_whose_connections_are_all_taken_is_asked_again(shop, all_connections, sql):
    """The queue of a pool that is too large: it is waited for, and told in one sentence when that is in vain."""
    url, taken = all_connections
    with pytest.raises(DeploykitError, match="too many connections for role") as refused:
        change(shop, url, "status")
    assert "max_connections" in refused.value.next_step
    assert sql("SELECT to_regclass('items')") == [(None,)]
    freed = threading.Timer(1.5, lambda: [connection.close() for connection in taken])
    freed.start()
    done = upgrade(shop, url)
    freed.join()
    assert (done.error, done.applied) == ("", ("a", "b"))


def test_plan_and_status_as_json(shop, url, sql):
    alembic(shop, url, "upgrade", "a")
    rows(sql, 10)
    (plan,) = change(shop, url, "plan")["plans"]
    assert (plan["key"], plan["phase"], plan["revision"]) == ("price", "declared", "b")
    assert next(step["kind"] for step in plan["programs"]["fill"]) == "backfill"
    assert change(shop, url, "status")["declared"] == [
        {"key": "price", "kind": "change_type", "table": "items", "revision": "b"}
    ]
    upgrade(shop, url)
    (item,) = change(shop, url, "status")["changes"]
    assert (item["phase"], item["revision"]) == ("filled", "b")
    assert json.dumps(item)
    assert change(shop, url, "control", settings={"backfill.speed": "0.5"})["settings"]["backfill.speed"] == "0.5"


def test_a_transaction_from_outside_is_refused(shop, url):
    shop.env(
        shop.migrations.joinpath("env.py")
        .read_text()
        .replace(
            "with engine.connect() as connection:",
            "with engine.begin() as connection:\n    connection.exec_driver_sql('SELECT 1')",
        )
    )
    done = alembic(shop, url, "upgrade", "b")
    assert done.returncode != 0
    assert "is in a transaction already" in done.stdout + done.stderr


def test_autogenerate_does_not_see_the_kits_own(shop, url):
    shop.env(
        shop.migrations.joinpath("env.py")
        .read_text()
        .replace(
            "transaction_per_migration=True",
            "transaction_per_migration=True, include_schemas=True, target_metadata=metadata",
        )
        .replace(
            "from alembic import context",
            "import sqlalchemy as sa\nfrom alembic import context\nmetadata = sa.MetaData()\nsa.Table('items',"
            " metadata, sa.Column('id', sa.Integer, primary_key=True), sa.Column('price_2', sa.Numeric(12, 2),"
            " nullable=False))",
        )
    )
    assert alembic(shop, url, "upgrade", "heads").returncode == 0
    checked = alembic(shop, url, "check")
    assert "No new upgrade operations detected" in checked.stdout + checked.stderr


def write_a_second_rename(shop):
    """The next change of the column, and its contract."""
    write(
        shop,
        "c",
        "b",
        None,
        None,
        "op.expand_rename_column('items', 'price_2', 'cost', change='cost')",
        "op.undo('cost')",
    )
    write(shop, "l", "k", None, "c", "op.contract('cost')", "op.reopen('cost')")


def test_a_contract_does_not_wait_for_the_change_that_waits_for_it(shop, url, sql):
    """The next change of the column, its contract, and a release that lags behind."""
    write_a_second_rename(shop)
    alembic(shop, url, "upgrade", "b")
    rows(sql)
    refused = upgrade(shop, url, facts=facts(soak="0", restore_wanted="no"))
    assert "cost meets price on items.price_2, which is filled" in refused.error
    (planned,) = (item for item in change(shop, url, "plan")["plans"] if item["key"] == "cost")
    assert planned["refused"].startswith("cost meets price on items.price_2, which is filled")
    change(shop, url, "verify")
    done = change(shop, url, "contract", facts=facts(soak="0", restore_wanted="no"))
    assert done["contracted"] == ["price"]
    upgrade(shop, url)
    done = change(shop, url, "contract", facts=facts(soak="0", restore_wanted="no"))
    assert done["contracted"] == ["cost"]


def test_the_history_of_a_column_goes_up_and_down_in_a_new_database(shop, url, sql):
    write_a_second_rename(shop)
    columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 'items' ORDER BY 1"
    up = alembic(shop, url, "upgrade", "heads")
    assert up.returncode == 0, up.stdout + up.stderr
    assert sql(columns) == [("cost",), ("id",)]
    down = alembic(shop, url, "downgrade", "base")
    assert down.returncode == 0, down.stdout + down.stderr
    assert sql(columns) == []
