from __future__ import annotations

import itertools

import psycopg
import pytest

_schemas = itertools.count(1)


@pytest.fixture
def postgresql(server_18):
    """The URL of an empty schema of the test's own."""
    schema = f"ledger_{next(_schemas)}"
    with psycopg.connect(server_18.url) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    return f"{server_18.url}&options=-csearch_path%3D{schema}"


@pytest.fixture
def sqlite(tmp_path):
    return str(tmp_path / "state" / "ledger.sqlite3")


@pytest.fixture(params=["sqlite", "postgresql"])
def anywhere(request):
    """A path, then a URL: what goes for one store goes for the other."""
    return request.getfixturevalue(request.param)
