"""The scripts of `in_app/`, called in this process, on SQLite."""

from __future__ import annotations

import ast
import json
import sqlite3
import sys
from pathlib import Path

import pytest

import deploykit.schema.in_app as in_app
from deploykit.schema.in_app.alembic_environment import (
    MigrationError,
    configuration,
    database_url,
    reason,
    version_table,
)
from deploykit.schema.in_app.command import MARK, main
from deploykit.schema.in_app.inspection import inspect_migrations
from deploykit.schema.in_app.upgrade import upgrade


@pytest.fixture
def sqlite(tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/app.db")
    return tmp_path / "app.db"


def pending(tree, body, *, head=""):
    """What one revision with that upgrade would do."""
    tree("a", None, body, head=head)
    (found,) = inspect_migrations("migrations", "DATABASE_URL")["pending"]
    return found


def test_nothing_of_the_kit_is_imported_inside():
    folder = Path(in_app.__file__).parent
    allowed = {"alembic", "sqlalchemy"}
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            for name in names:
                top = name.partition(".")[0]
                assert top in allowed or top in sys.stdlib_module_names, f"{path.name} imports {name}"


def test_heads_are_known_without_a_database(tree, monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    tree("a", None)("b", "a")("c", "a")("x", "a", labels=("extra",))
    found = inspect_migrations("migrations", "DATABASE_URL")
    assert found["branches"] == {"": ["b", "c"], "extra": ["x"]} or found["branches"] == {
        "": ["c", "b"],
        "extra": ["x"],
    }
    assert (found["current"], found["pending"], found["error"]) == (None, None, None)


def test_a_database_that_was_never_migrated_has_everything_pending_and_is_not_made(tree, sqlite):
    tree("b", "a")("a", None)
    found = inspect_migrations("migrations", "DATABASE_URL")
    assert found["current"] == []
    assert [item["revision"] for item in found["pending"]] == ["a", "b"]
    assert found["pending"][0]["message"] == "about a"
    assert found["pending"][0]["path"] == "migrations/versions/a.py"
    assert not sqlite.exists()


def test_what_is_applied_is_not_pending_and_a_later_revision_is_missing_here(tree, sqlite, monkeypatch):
    tree("a", None)("b", "a")
    with sqlite3.connect(sqlite) as database:
        database.execute("create table alembic_version (version_num text)")
        database.execute("insert into alembic_version values ('a')")
    assert [item["revision"] for item in inspect_migrations("migrations", "DATABASE_URL")["pending"]] == ["b"]
    with sqlite3.connect(sqlite) as database:
        database.execute("update alembic_version set version_num = 'z'")
    database.close()
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{sqlite}")
    found = inspect_migrations("migrations", "DATABASE_URL")
    assert (found["current"], found["missing"]) == (["z"], ["z"])


def test_every_kind_of_operation_is_described(tree, sqlite):
    found = pending(
        tree,
        """
        orders = op.create_table("orders", sa.Column("id", sa.Integer, primary_key=True))
        op.bulk_insert(orders, [{"id": 1}])
        op.add_column("t", sa.Column("n", sa.String(5), nullable=False))
        op.add_column("t", sa.Column("d", sa.Integer, server_default="1", nullable=False))
        op.add_column("t", sa.Column("s", sa.Integer, primary_key=True))
        op.add_column("t", sa.Column("c", sa.Integer, sa.Computed("1")))
        op.alter_column("t", "a", type_=sa.Text, existing_type=sa.String(9), nullable=False, new_column_name="b",
                        server_default=None, existing_nullable=False, comment="x")
        op.alter_column("t", "a", nullable=True, server_default="x")
        op.alter_column("t", "a", existing_nullable=True)
        op.drop_column("t", "a", schema="other")
        op.rename_table("t", "u")
        op.drop_table("u")
        op.create_index("i", "t", ["a"])
        op.drop_index("i", "t")
        op.create_foreign_key("f", "t", "u", ["a"], ["b"])
        op.create_check_constraint("k", "t", "a > 1")
        op.create_unique_constraint("q", "t", ["a"])
        op.drop_constraint("k", "t")
        op.create_table_comment("t", "x")
        op.drop_table_comment("t")
        op.execute(sa.text("UPDATE t SET a = :x").bindparams(x=1))
        op.execute(sa.delete(sa.table("t")))
        with op.batch_alter_table("t") as batch:
            batch.add_column(sa.Column("z", sa.Integer))
            batch.drop_column("y")
        """,
    )
    assert found["unknown"] is None
    assert [item["kind"] for item in found["operations"]] == [
        "create_table", "data", "add_column", "add_column", "add_column", "add_column",
        "alter_type", "drop_default", "set_not_null", "rename_column", "comment", "set_default", "drop_not_null", "other",
        "drop_column", "rename_table", "drop_table", "create_index", "drop_index", "add_constraint", "add_constraint",
        "add_constraint", "drop_constraint", "comment", "comment", "data", "data", "add_column", "drop_column",
    ]  # fmt: skip
    added = [
        (item["column"], item["nullable"], item["default"])
        for item in found["operations"]
        if item["kind"] == "add_column"
    ]
    assert added == [("n", False, False), ("d", False, True), ("s", False, True), ("c", True, True), ("z", True, False)]
    (retyped,) = [item for item in found["operations"] if item["kind"] == "alter_type"]
    assert (retyped["existing_type"], retyped["type"]) == ("VARCHAR(9)", "TEXT")
    assert found["operations"][-1] == {"kind": "drop_column", "table": "t", "schema": None, "column": "y"}
    assert not sqlite.exists()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("rows = op.get_bind().execute(sa.text('select 1')).fetchall()", "it reads from the database (result.fetchall)"),
        ("for row in op.get_bind().execute(sa.text('select 1')): pass", "rows of a result"),
        ("op.get_bind().execute(sa.text('update t set x = 1'))[0]", "rows of a result"),
        ("if op.get_bind().execute(sa.text('select 1')): pass", "a result"),
        ("try:\n    op.get_bind().scalar(sa.text('select 1'))\nexcept Exception:\n    pass", "connection.scalar"),
        ("try:\n    sa.inspect(op.get_bind())\nexcept Exception:\n    pass", "sqlalchemy.inspect"),
        ("from sqlalchemy.orm import Session\nSession(op.get_bind()).execute(sa.text('select 1')).scalar_one()", "it reads from the database"),
        ("import os\nsa.create_engine('sqlite://').connect()", "a connection of its own"),
        ("op.execute('CALL clean_up()')", "what this SQL changes is unknown: CALL CLEAN_UP ( )"),
        ("raise RuntimeError('no')", "it can't be run without a database: RuntimeError: no"),
        ("op.execute(object())", "a statement can't be read: AttributeError"),
        ("import os\nos.environ['DATABASE_URL']", "KeyError"),
    ],
)  # fmt: skip
def test_an_upgrade_that_asks_the_database_is_unknown_even_if_it_catches_the_error(tree, sqlite, body, why):
    found = pending(tree, body)
    assert why in found["unknown"]
    assert not sqlite.exists()


def test_statements_on_the_connection_are_seen_too(tree, sqlite):
    found = pending(
        tree,
        """
        bind = op.get_bind()
        assert bind.dialect.name == "sqlite" and not bind.in_transaction()
        bind.execute(sa.text("DROP TABLE a"))
        bind.exec_driver_sql("DROP TABLE b")
        sa.Table("c", sa.MetaData(), sa.Column("x", sa.Integer)).create(bind)
        sa.Table("d", sa.MetaData()).drop(bind, checkfirst=True)
        with bind.begin(), op.get_context().autocommit_block():
            op.execute("ALTER TABLE e DROP COLUMN f")
        bind.commit()
        """,
    )
    assert found["unknown"] is None
    assert [(item["kind"], item["table"]) for item in found["operations"]] == [
        ("drop_table", "a"),
        ("drop_table", "b"),
        ("create_table", "c"),
        ("drop_table", "d"),
        ("drop_column", "e"),
    ]


def test_an_operation_of_a_plugin_is_seen_through(tree, sqlite):
    found = pending(
        tree,
        "op.archive('t')\n",
        head="""
from alembic.operations import MigrateOperation, Operations

@Operations.register_operation("archive")
class Archive(MigrateOperation):
    def __init__(self, name):
        self.name = name

    @classmethod
    def archive(cls, operations, name):
        return operations.invoke(cls(name))

@Operations.implementation_for(Archive)
def archive(operations, operation):
    operations.execute(f"ALTER TABLE {operation.name} RENAME TO old")
""",
    )
    assert [(item["kind"], item["table"]) for item in found["operations"]] == [("rename_table", "t")]


def test_the_version_table_is_found_in_the_text_of_env(tree):
    tree.env("TABLE = 'versions'\ncontext.configure(version_table=TABLE, version_table_schema='own')\n")
    assert version_table(configuration("migrations"), "migrations") == ("versions", "own")
    tree.env("context.configure(version_table=name())")
    assert version_table(configuration("migrations"), "migrations") == ("alembic_version", None)
    tree.env("syntax error (")
    assert version_table(configuration("migrations"), "migrations") == ("alembic_version", None)
    Path("alembic.ini").write_text("[alembic]\nscript_location = migrations\nversion_table = mine\n")
    assert version_table(configuration("alembic.ini"), "migrations") == ("mine", None)


def test_an_ini_is_read_wherever_it_is(tree, sqlite):
    tree("a", None)
    Path("alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n")
    assert inspect_migrations("alembic.ini", "DATABASE_URL")["branches"] == {"": ["a"]}
    Path("migrations/alembic.ini").write_text("[alembic]\n")
    assert inspect_migrations("migrations", "DATABASE_URL")["branches"] == {"": ["a"]}


@pytest.mark.filterwarnings("ignore:Revision .* is not present:UserWarning")
@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (lambda tree: (tree.migrations / "versions/a.py").write_text("import nothing_like_it"), "revisions", "nothing_like_it"),
        (lambda tree: tree("a", "gone"), "revisions", "gone"),
        (lambda tree: (tree.migrations / "env.py").unlink(), "migrations", "there is no env.py in migrations"),
    ],
)  # fmt: skip
def test_revisions_that_cannot_be_loaded_are_a_clear_error(tree, change, kind, words):
    change(tree)
    with pytest.raises(MigrationError) as raised:
        inspect_migrations("migrations", "DATABASE_URL")
    assert raised.value.kind == kind
    assert words in str(raised.value)


def test_a_url_that_is_none_is_a_clear_error_that_does_not_show_it(monkeypatch, tree):
    tree("a", None)
    monkeypatch.setenv("DATABASE_URL", "secret nonsense")
    found = inspect_migrations("migrations", "DATABASE_URL")
    assert found["error"] == {"kind": "variable", "message": "the variable DATABASE_URL does not hold a database URL"}


def test_a_database_that_is_down_is_an_error_without_the_password(monkeypatch, tree):
    tree("a", None)
    monkeypatch.setenv("DATABASE_URL", "postgres://me:geheim@127.0.0.1:1/shop")
    error = inspect_migrations("migrations", "DATABASE_URL")["error"]
    assert error["kind"] == "database"
    assert error["message"].startswith("the database 127.0.0.1:1/shop can't be reached: ")
    assert "geheim" not in error["message"]
    monkeypatch.setenv("DATABASE_URL", "nosuch://x/y")
    assert "no driver for nosuch" in inspect_migrations("migrations", "DATABASE_URL")["error"]["message"]


def test_an_error_never_repeats_the_password(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://u:p%40ss word@h/d")
    url = database_url("DATABASE_URL")
    assert reason(ValueError("can't use p@ss word\n or p%40ss%20word"), url) == "can't use *** or ***"
    assert len(reason(ValueError("x" * 2000))) == 601
    assert reason(ValueError()) == "ValueError"


def test_an_upgrade_on_sqlite_applies_all_and_says_what_it_kept(tree, sqlite, capsys):
    tree("a", None, "op.create_table('t', sa.Column('x', sa.Integer))")(
        "b", "a", "op.execute('INSERT INTO nowhere VALUES (1)')"
    )
    found = upgrade("migrations", "DATABASE_URL", wait=1, lock_timeout=1)
    assert found["applied"] == ["a"]
    assert found["error"]["revision"] == "b"
    assert found["error"]["sql"] == "INSERT INTO nowhere VALUES (1)"
    assert found["error"]["where"] == "migrations/versions/b.py:12"
    assert "no such table: nowhere" in found["error"]["message"]
    shown = capsys.readouterr()
    assert "ran a about a" in shown.out
    assert shown.err.splitlines()[0].startswith("revision b (about b) failed: no such table")
    assert "Traceback" not in shown.err


def test_a_failure_in_env_is_told_with_its_line(tree, sqlite, capsys):
    tree("a", None)
    tree.env("x = 1\nraise KeyError('SHOP')\n")
    found = upgrade("migrations", "DATABASE_URL", wait=1, lock_timeout=1)
    assert found["error"]["message"] == "KeyError: 'SHOP'"
    assert found["error"]["where"] == "migrations/env.py:2"
    assert "the migration environment failed" in capsys.readouterr().err


def test_a_database_of_a_later_version_is_told_as_that(tree, sqlite):
    tree("a", None)
    with sqlite3.connect(sqlite) as database:
        database.execute("create table alembic_version (version_num text)")
        database.execute("insert into alembic_version values ('z')")
    database.close()
    error = upgrade("migrations", "DATABASE_URL", wait=1, lock_timeout=1)["error"]
    assert (
        error["message"] == "the database is at revision z, which this version lacks: a later version has migrated it"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "wanted"),
    [
        (["inspect", "--migrations", "migrations"], 0, '"heads": [{"revision": "a"'),
        (["upgrade", "--migrations", "migrations"], 0, '"applied": ["a"]'),
        (["upgrade", "--migrations", "migrations", "--variable", "OTHER"], 3, "the variable OTHER is not set"),
        (["inspect", "--migrations", "nowhere"], 3, "there is no nowhere in "),
    ],
)
def test_the_answer_is_one_marked_line_of_json(tree, sqlite, monkeypatch, capsys, arguments, code, wanted):
    tree("a", None, "print('noise without an end', end='')")
    monkeypatch.setattr("sys.path", ["first", *sys.path])
    assert main([*arguments, "--tree", str(tree.root)]) == code
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(MARK)]
    assert len(lines) == 1
    assert wanted in lines[0]
    json.loads(lines[0].removeprefix(MARK))


def test_an_upgrade_that_fails_answers_one(tree, sqlite, monkeypatch):
    monkeypatch.setattr("sys.path", ["first", *sys.path])
    tree("a", None, "raise ValueError('x')")
    assert main(["upgrade", "--migrations", "migrations", "--tree", str(tree.root)]) == 1
