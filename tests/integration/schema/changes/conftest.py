"""A fresh database on each of two servers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # changed_database, schema_cases


@pytest.fixture(params=[15, 18])
def database(request):
    """The URL of a fresh database, on each of the servers."""
    with request.getfixturevalue(f"server_{request.param}").database() as url:
        yield url


@pytest.fixture
def fresh_18(server_18):
    """Makes a fresh database on 18, as often as it is asked: `with fresh_18() as url`."""
    return server_18.database
