from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from deploykit.board import database, tables
from deploykit.board.access import Tokens
from deploykit.board.app import create_app
from deploykit.board.config import Config
from tests.shared.events import good_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TOKENS = Tokens(apps=[("shop", "token-of-shop"), ("desk", "token-of-desk")])
NOW = 1_800_000_000.0


@pytest.fixture
def token() -> dict[str, str]:
    return {"Authorization": "Bearer token-of-shop"}


@pytest.fixture
def now() -> float:
    return NOW


@pytest.fixture
def event() -> Callable[..., dict[str, Any]]:
    return lambda **fields: good_event(**{"at": NOW - 60, **fields})


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> Path:
    """A SQLite file with the board's tables, to be copied: making them costs more than most tests."""
    path = tmp_path_factory.mktemp("board") / "empty.db"
    engine = database.connect(f"sqlite:///{path}")
    tables.metadata.create_all(engine)
    engine.dispose()
    return path


@pytest.fixture
def board_with(tmp_path, empty_database) -> Iterator[Callable[..., TestClient]]:
    """A board on SQLite, configured as the test wants."""
    clients: list[TestClient] = []

    def make(**config: Any) -> TestClient:
        config.setdefault("database_url", f"sqlite:///{tmp_path}/board.db")
        shutil.copy(empty_database, tmp_path / "board.db")
        config = {"tokens": TOKENS, "open_to_readers": True, "version": "9.9", **config}
        client = TestClient(
            create_app(Config(**config), now=lambda: NOW), base_url="http://localhost", raise_server_exceptions=False
        )
        clients.append(client)
        return client.__enter__()

    yield make
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def board(board_with) -> TestClient:
    return board_with()


@pytest.fixture
def post(board) -> Callable[[dict[str, Any]], Any]:
    def send(content: dict[str, Any]) -> Any:
        answer = board.post("/api/events", json=content, headers={"Authorization": f"Bearer token-of-{content['app']}"})
        assert answer.status_code == 201, answer.text
        return answer

    return send
