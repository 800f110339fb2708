"""The plug-in and the commands in an application that has SQLAlchemy 2.0; the other tests have the newest."""

from __future__ import annotations

import subprocess

import psycopg
import pytest
from schema_shop import alembic, change, upgrade

pytestmark = pytest.mark.timeout(180)
ORDERS = {
    "alembic first": "import alembic",
    "op first": "from alembic import op",
    "sqlalchemy first": "import sqlalchemy, sqlalchemy.orm; import alembic",
    "plug-in first": "import deploykit.schema.in_app.plugin; import alembic",
}
ASK = (
    "\nfrom alembic import op\nimport sqlalchemy\nprint(sqlalchemy.__version__[:3], hasattr(op,"
    " 'expand_rename_column'), hasattr(op, 'contract'))"
)


@pytest.fixture(scope="module")
def older(python_with, wheel) -> str:
    """A Python that has SQLAlchemy 2.0, Alembic and the kit; nothing else of the kit's own."""
    return str(python_with("older", "sqlalchemy>=2.0,<2.1", "alembic", "psycopg[binary]", without_dependencies=wheel))


@pytest.mark.parametrize("order", ORDERS)
def test_op_has_the_operations_whatever_is_imported_first(older, order):
    code = "import warnings; warnings.simplefilter('error')\n" + ORDERS[order] + ASK
    done = subprocess.run([older, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["2.0", "True", "True"]), done.stderr


def test_a_change_goes_through_its_life_and_back(older, shop, database):
    url = database.replace("postgresql://", "postgresql+psycopg://")
    done = alembic(shop, url, "upgrade", "a", python=older)
    assert done.returncode == 0, done.stdout + done.stderr
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("INSERT INTO items (price) SELECT g FROM generate_series(1, 3000) g")
    assert upgrade(shop, url, python=older, fill=True).filled == ("price",)
    assert change(shop, url, "contract", python=older, override="a test")["contracted"] == ["price"]
    assert change(shop, url, "undo", python=older, keys=["price"])["undone"] == ["price"]
    with psycopg.connect(database, autocommit=True) as connection:
        assert connection.execute("SELECT count(*), sum(price) FROM items").fetchone() == (3000, 4501500)


def test_the_same_on_sqlite(older, shop, tmp_path):
    url = f"sqlite:///{tmp_path / 'app.db'}"
    from schema_shop import declared

    declared(
        shop,
        "op.expand_change_type('items', 'price', sa.Numeric(12, 2), up='price / 100.0', down='CAST(price_2 * 100 AS"
        " integer)', change='price')",
    )
    up = alembic(shop, url, "upgrade", "heads", python=older)
    assert up.returncode == 0, up.stdout + up.stderr
    down = alembic(shop, url, "downgrade", "base", python=older)
    assert down.returncode == 0, down.stdout + down.stderr
