"""The commands as they are run for a release: another process, in the application's folder, on a real PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys

import psycopg
import pytest

from deploykit.process import run
from deploykit.schema.in_app.migration_lock import LOCK
from deploykit.schema.runner import inspect_command, parse, parse_upgrade, upgrade_command
from deploykit.schema.safety import unsafe_operations


def env(url: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in {"PATH", "HOME", "LANG"} or name.startswith("COVERAGE_")
    }
    return {**kept, "DATABASE_URL": url}


def sqlalchemy_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")


def upgrade(tree, url, **limits):
    argv = upgrade_command(sys.executable, "migrations", tree.root, **limits)
    done = run(argv, env=env(url), cwd="/", timeout=60, check=False)
    return done, parse_upgrade(done.stdout)


def inspect(tree, url):
    argv = inspect_command(sys.executable, "migrations", tree.root)
    return parse(run(argv, env=env(url), cwd="/", timeout=60).stdout)


@pytest.fixture
def url(database):
    return sqlalchemy_url(database)


def test_a_release_inspects_upgrades_and_inspects_again(tree, url):
    tree(
        "a",
        None,
        "op.create_table('orders', sa.Column('id', sa.Integer, primary_key=True), sa.Column('note', sa.Text))",
    )
    assert inspect(tree, url).current == ()
    done, upgraded = upgrade(tree, url)
    assert (done.returncode, upgraded.applied, upgraded.error) == (0, ("a",), "")
    assert "ran a about a (" in done.stdout

    tree("b", "a", "op.alter_column('orders', 'note', nullable=False)")
    found = inspect(tree, url)
    assert (found.current, found.dialect) == (("a",), "postgresql")
    assert [item.revision for item in found.pending or ()] == ["b"]
    (unsafe,) = unsafe_operations(found)
    assert (unsafe.table, unsafe.operation) == ("orders", "set_not_null")

    done, upgraded = upgrade(tree, url)
    assert upgraded.applied == ("b",)
    assert inspect(tree, url).pending == ()
    done, upgraded = upgrade(tree, url)
    assert (done.returncode, upgraded.applied) == (0, ())


def test_nothing_is_written_into_the_tree(tree, url):
    tree("a", None)
    before = sorted(tree.root.rglob("*"))
    inspect(tree, url)
    upgrade(tree, url)
    assert sorted(tree.root.rglob("*")) == before


def test_an_inspection_changes_nothing_in_the_database(tree, url, database):
    tree("a", None, "op.create_table('orders', sa.Column('id', sa.Integer))\nop.execute('CREATE TABLE t ()')")
    inspect(tree, url)
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)


def test_two_upgrades_at_once_do_the_work_once(tree, url):
    tree("a", None, "op.execute('SELECT pg_sleep(5)')\nop.create_table('t', sa.Column('x', sa.Integer))")
    argv = upgrade_command(sys.executable, "migrations", tree.root)
    children = [
        subprocess.Popen(argv, env=env(url), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [child.communicate(timeout=60) for child in children]
    upgrades = [parse_upgrade(stdout) for stdout, _ in outputs]
    assert sorted(found.applied for found in upgrades) == [(), ("a",)], outputs
    assert [found.error for found in upgrades] == ["", ""]
    assert any("another migration runs on this database (process " in stdout for stdout, _ in outputs)


def test_an_upgrade_gives_up_on_another_that_does_not_end_and_says_who(tree, url, database):
    tree("a", None)
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        done, upgraded = upgrade(tree, url, wait=0.5)
        pid = other.info.backend_pid
    assert done.returncode == 3
    assert upgraded.error.startswith(f"another migration still runs on this database (process {pid}, since ")
    assert "after 0.5 s of waiting" in done.stderr
    assert upgrade(tree, url)[1].applied == ("a",)


def test_a_concurrent_index_is_built_while_another_upgrade_waits(tree, url, database):
    tree("a", None, "op.create_table('t', sa.Column('x', sa.Integer))")
    upgrade(tree, url)
    tree(
        "b",
        "a",
        "with op.get_context().autocommit_block():\n    op.create_index('i', 't', ['x'], postgresql_concurrently=True)",
    )
    argv = upgrade_command(sys.executable, "migrations", tree.root)
    children = [
        subprocess.Popen(argv, env=env(url), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [child.communicate(timeout=60) for child in children]
    assert sorted(parse_upgrade(stdout).applied for stdout, _ in outputs) == [(), ("b",)], outputs
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass").fetchone() == (
            True,
        )


def test_a_statement_waits_for_a_lock_no_longer_than_allowed_and_names_who_may_hold_it(tree, url, database):
    tree("a", None, "op.create_table('t', sa.Column('x', sa.Integer))")
    upgrade(tree, url)
    tree("b", "a", "op.add_column('t', sa.Column('y', sa.Integer))")
    with psycopg.connect(database, application_name="report") as reader:
        reader.execute("SELECT * FROM t")
        done, upgraded = upgrade(tree, url, lock_timeout=0.3)
        pid = reader.info.backend_pid
    assert done.returncode == 1
    assert "canceling statement due to lock timeout" in upgraded.error
    assert any(f"process {pid} report (idle in transaction)" in line for line in upgraded.details), upgraded
    assert upgrade(tree, url)[1].applied == ("b",)


def test_a_failure_names_the_revision_the_sql_and_the_line(tree, url):
    tree("a", None, "op.create_table('t', sa.Column('x', sa.Integer))")
    tree("b", "a", "op.drop_column('t', 'nope')")
    done, upgraded = upgrade(tree, url)
    assert done.returncode == 1
    assert upgraded.applied == ("a",)
    assert upgraded.error == 'revision b (about b) failed: column "nope" of relation "t" does not exist'
    assert upgraded.details == ("SQL: ALTER TABLE t DROP COLUMN nope", "at: migrations/versions/b.py:12")
    assert len(done.stderr.splitlines()) == 3


def test_with_one_transaction_for_all_a_failure_keeps_nothing(tree, url):
    tree.env((tree.migrations / "env.py").read_text().replace(", transaction_per_migration=True", ""))
    tree("a", None, "op.create_table('t', sa.Column('x', sa.Integer))")("b", "a", "op.drop_column('t', 'nope')")
    _, upgraded = upgrade(tree, url)
    assert (upgraded.applied, upgraded.revision) == ((), "b")
    assert inspect(tree, url).current == ()


def test_an_env_that_reads_its_url_from_the_configuration_gets_it(tree, url):
    tree.env(
        "from alembic import context\nfrom sqlalchemy import create_engine\n"
        "engine = create_engine(context.config.get_main_option('sqlalchemy.url'))\n"
        "with engine.connect() as connection:\n"
        "    context.configure(connection=connection, version_table='own_version')\n"
        "    with context.begin_transaction():\n        context.run_migrations()\n"
    )
    tree("a", None)
    assert upgrade(tree, url)[1].applied == ("a",)
    assert inspect(tree, url).current == ("a",)


def test_the_path_of_the_kit_hides_no_module_of_the_application(tree, url):
    (tree.root / "runner.py").write_text("NAME = 'mine'\n")
    (tree.root / "statements.py").write_text("NAME = 'mine'\n")
    body = (
        "import runner, statements, inspect\nassert runner.NAME == statements.NAME == 'mine'\nassert inspect.signature"
    )
    # Of the kit only its Alembic plug-in may be there: Alembic imports it where the kit is installed.
    plugin = (
        "{'deploykit', 'deploykit._version', 'deploykit.schema', 'deploykit.schema.in_app',"
        " 'deploykit.schema.in_app.plugin'}"
    )
    tree(
        "a",
        None,
        f"{body}\nimport sys\nassert {{name for name in sys.modules if name.startswith('deploykit')}} <= {plugin}",
    )
    assert upgrade(tree, url)[1].error == ""


def test_an_environment_without_alembic_says_so(tree, tmp_path):
    python = tmp_path / "bare" / "bin" / "python"
    run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], timeout=60)
    done = run(inspect_command(python, "migrations", tree.root), env=env("sqlite://"), timeout=60, check=False)
    assert done.returncode == 3
    assert "is not installed in the application's environment" in parse(done.stdout).error
