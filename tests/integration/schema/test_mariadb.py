"""Plain DDL on a real MariaDB: Alembic's own operations by the kit's upgrade; a declared change is refused aloud, and
nothing of it done.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time

import pytest
from schema_shop import EXPAND, alembic, change, upgrade, write

from deploykit.model import DeploykitError

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def python(python_with, wheel) -> str:
    """An application's environment with PyMySQL."""
    return str(python_with("maria", "sqlalchemy", "alembic", "pymysql", without_dependencies=wheel))


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A server of this module's own, on loopback; Debian's mariadb-server has to be there (see .ci/run)."""
    server = shutil.which("mariadbd", path=f"/usr/sbin:{os.environ['PATH']}")
    assert server, "this test needs a MariaDB: apt-get install mariadb-server"
    folder = tmp_path_factory.mktemp("mariadb")
    user = ["--user=root"] if os.getuid() == 0 else []
    data = ["--no-defaults", f"--datadir={folder / 'data'}", *user]
    install = ["mariadb-install-db", *data, "--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run(install, check=True, timeout=60, stdout=subprocess.DEVNULL)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    own = ["--bind-address=127.0.0.1", f"--port={port}", f"--socket={folder / 's'}", f"--pid-file={folder / 'pid'}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([server, *data, *own], stdout=log, stderr=log)
    try:
        until = time.monotonic() + 60
        while True:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.05)
        asked = ["mariadb", "--no-defaults", f"--socket={folder / 's'}", "--user=root", "-e", "CREATE DATABASE shop"]
        subprocess.run(asked, check=True, timeout=30)
        yield f"mysql+pymysql://root@127.0.0.1:{port}/shop"
    finally:
        process.terminate()
        process.wait(30)


def test_plain_ddl_goes_through_and_a_declared_change_is_refused_aloud(shop, python, url):
    first = upgrade(shop, url, python=python)
    # The first revision makes the table; the second one declares a change.
    assert first.applied == ("a",)
    assert "declared changes work on PostgreSQL, and on SQLite as plain DDL; this is m" in "\n".join(
        (first.error, *first.details)
    )
    with pytest.raises(DeploykitError, match=r"this is m.*: use Alembic's own operations"):
        change(shop, url, "status", python=python)
    # The same by Alembic's own operation.
    assert EXPAND in (shop.migrations / "versions" / "b.py").read_text()
    plain = 'op.add_column("items", sa.Column("price_2", sa.Numeric(12, 2)))'
    write(shop, "b", "a", None, None, plain, 'op.drop_column("items", "price_2")')
    (shop.migrations / "versions" / "k.py").unlink()
    again = upgrade(shop, url, python=python)
    assert (again.applied, again.error) == (("b",), "")
    assert upgrade(shop, url, python=python).applied == ()
    down = alembic(shop, url, "downgrade", "base", python=python)
    assert down.returncode == 0, down.stdout + down.stderr
