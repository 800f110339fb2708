from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from schema_shop import EXPAND, declared, write

from tests.shared.migrations import tree

__all__ = ["database", "shop", "tree"]


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
            "if context.is_offline_mode():\n    context.configure(url='postgresql://', literal_binds=True)\n   "
            " context.run_migrations()\n    raise SystemExit\nengine =",
        )
    )
    table = (
        "op.create_table('items', sa.Column('id', sa.Integer, primary_key=True), sa.Column('price', sa.Integer,"
        " nullable=False))"
    )
    write(tree, "a", None, None, None, table, "op.drop_table('items')")
    declared(tree, EXPAND)
    return tree


@pytest.fixture
def database(server_18):
    """The URL of a fresh database, as an application gets it: without a driver."""
    with server_18.database() as url:
        yield url
