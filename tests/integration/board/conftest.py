from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from alembic.config import Config

from tests.shared.events import good_event
from tests.shared.postgres import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[3]
APPS = ("shop", "desk", *(f"app-{number}" for number in range(16)))
TOKENS = " ".join(f"{app}=token-of-{app}" for app in APPS)


@pytest.fixture
def empty_database(server_18) -> Iterator[str]:
    with server_18.database() as url:
        yield url


@pytest.fixture(scope="session")
def migrate() -> Callable[..., None]:
    """Run one of Alembic's commands on a database: `migrate(url, "upgrade", "head")`."""

    def run(url: str, name: str, *arguments: str, **options: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DATABASE_URL", url)
            config = Config()
            config.set_main_option("script_location", str(ROOT / "migrations"))
            getattr(command, name)(config, *arguments, **options)

    return run


@pytest.fixture(scope="session")
def template(server_18, migrate) -> Iterator[str]:
    """The name of a migrated database without rows, to be copied: migrating costs more than most tests."""
    with server_18.database() as url:
        migrate(url, "upgrade", "head")
        yield name_of(url)


@pytest.fixture
def migrated(server_18, template) -> Iterator[str]:
    with server_18.database(template) as url:
        yield url


class Board:
    """A board as a process. `log` holds the lines that it has written so far."""

    def __init__(self, folder: Path, url: str, *arguments: str, **variables: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.output = folder / f"board-{self.port}.log"
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DATABASE_URL": url, "BOARD_TOKENS": TOKENS}
        environ |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
        with self.output.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deploykit.board", "--port", str(self.port), *arguments],
                env={**environ, "DEPLOYKIT_VERSION": "1.2.3", **variables},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_until_listening(self, seconds: float = 20) -> Board:
        deadline = time.monotonic() + seconds
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert self.process.poll() is None, self.output.read_text()
                assert time.monotonic() < deadline, self.output.read_text()
                time.sleep(0.005)
            else:
                return self

    def connection(self, timeout: float = 20) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        connection = self.connection()
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            return answer.status, json.loads(body) if answer.headers["content-type"] == "application/json" else body
        finally:
            connection.close()

    def post(self, event: dict[str, Any], app: str = "") -> tuple[int, dict[str, Any]]:
        connection = self.connection()
        try:
            headers = {"Authorization": f"Bearer token-of-{app or event['app']}"}
            connection.request("POST", "/api/events", json.dumps(event), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def terminate(self, seconds: float = 20) -> int:
        self.process.terminate()
        return self.process.wait(seconds)

    @property
    def log(self) -> list[dict[str, Any]]:
        whole = self.output.read_text().rpartition("\n")[0]  # the last line may be half written
        return [json.loads(line) for line in whole.splitlines()]


@pytest.fixture
def start_board(tmp_path) -> Iterator[Callable[..., Board]]:
    boards: list[Board] = []

    def start(url: str, *arguments: str, **variables: str) -> Board:
        boards.append(Board(tmp_path, url, *arguments, **variables))
        return boards[-1]

    yield start
    for board in boards:
        if board.process.poll() is None:
            board.process.kill()
            board.process.wait(10)


@pytest.fixture
def board(start_board, migrated) -> Board:
    return start_board(migrated).wait_until_listening()


@pytest.fixture
def event() -> Callable[..., dict[str, Any]]:
    return lambda **fields: good_event(**{"at": time.time(), **fields})
