"""An application's folder with migrations that Alembic runs."""

from __future__ import annotations

import importlib.machinery
import textwrap

import pytest

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
                f"revision = {revision!r}\ndown_revision = {down!r}\nbranch_labels = {labels!r}\ndepends_on ="
                " None\n\n\n"
                f"def upgrade():\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n"
            )
            (self.migrations / "versions" / f"{revision}.py").write_text(text, encoding="utf-8")
            return self

        def env(self, text):
            (self.migrations / "env.py").write_text(text, encoding="utf-8")

    monkeypatch.chdir(tmp_path)
    loader = importlib.machinery.SourceFileLoader
    monkeypatch.setattr(loader, "set_data", loader.set_data)  # `main` replaces it
    found = Tree()
    (found.migrations / "versions").mkdir(parents=True)
    found.env(ENV)
    return found
