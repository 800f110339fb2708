"""What `/health` says, and what a board does whose database is not there."""

from __future__ import annotations

import json
import logging

import pytest
import sqlalchemy
from starlette.testclient import TestClient

from deploykit.board import database
from deploykit.board.app import create_app
from deploykit.board.config import Config
from deploykit.board.logs import JsonFormatter


def test_a_board_that_can_work_is_healthy(board):
    answer = board.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "healthy", "version": "9.9", "checks": {"database": "ok"}}


def test_it_names_the_release_it_is(board_with):
    answer = board_with(release="r7", environment="staging").get("/health").json()
    assert (answer["release"], answer["environment"]) == ("r7", "staging")


def test_a_draining_board_says_so(board):
    board.app.state.drain.on = True
    answer = board.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "draining")
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("", "DATABASE_URL is not set"),
        ("hunter2", "does not hold a database URL"),
        ("postgresql://u:hunter2@host:port/", "does not hold a database URL"),
        ("oracle+oracledb://u:hunter2@host/db", "driver oracledb is not installed"),
        ("nothing://u:hunter2@host/db", "works with postgresql and sqlite"),
        ("postgresql://u:hunter2@127.0.0.1:1/db", "Connection refused"),
    ],
)
def test_a_board_without_its_database_starts_and_tells_the_cause_without_the_password(board_with, url, cause, caplog):
    board = board_with(database_url=url)
    answer = board.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "unhealthy")
    assert cause in answer.json()["checks"]["database"]
    for path in ("/", "/apps/shop", "/api/apps", "/api/releases"):
        refused = board.get(path)
        assert refused.status_code == 503
        assert "hunter2" not in refused.text
    assert "hunter2" not in answer.text + caplog.text


def test_missing_tables_are_the_cause(tmp_path):
    app = create_app(Config(database_url=f"sqlite:///{tmp_path}/empty.db", token="t"))
    with TestClient(app) as board:
        answer = board.get("/health")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {"database": "The board's tables are missing: run its migrations."}


def test_an_event_for_a_broken_database_is_to_be_sent_again(board_with, event, token):
    answer = board_with(database_url="postgresql://127.0.0.1:1/db").post("/api/events", json=event(), headers=token)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"


def test_a_driver_that_quotes_the_password_does_not_spread_it():
    error = sqlalchemy.exc.OperationalError("SELECT 1", {}, Exception('login "u" with "hunter2" refused\nmore'))
    told = database.cause(error, sqlalchemy.make_url("postgresql://u:hunter2@h/d"))
    assert told == 'The database does not answer: login "u" with "***" refused.'


def test_a_full_pool_is_told_as_such():
    told = database.cause(sqlalchemy.exc.TimeoutError(), sqlalchemy.make_url("sqlite://"))
    assert told == "All connections to the database are in use."


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_of_postgresql_means_psycopg(scheme):
    assert database.normalise(f"{scheme}://u:p@h/d").drivername == "postgresql+psycopg"


def test_settings_come_from_the_environment_and_secrets_are_not_printed():
    environ = {
        "DATABASE_URL": " sqlite:// ",
        "BOARD_TOKEN": "hunter2",
        "BOARD_READ_TOKEN": "hunter3",
        "DEPLOYKIT_VERSION": "1.2",
        "DEPLOYKIT_RELEASE": "r1",
        "DEPLOYKIT_ENVIRONMENT": "local",
    }
    config = Config.from_environ(environ)
    assert (config.database_url, config.token, config.read_token) == ("sqlite://", "hunter2", "hunter3")
    assert (config.version, config.release, config.environment) == ("1.2", "r1", "local")
    assert "hunter" not in repr(config)
    assert Config.from_environ({}).version


def test_a_log_line_is_json_and_keeps_a_traceback_on_it():
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError as error:
        record = logging.LogRecord("board", logging.ERROR, "", 0, "no %s", ("good",), (type(error), error, None))
    record.status = 500
    line = JsonFormatter().format(record)
    assert "\n" not in line
    read = json.loads(line)
    assert (read["level"], read["message"], read["status"]) == ("error", "no good", 500)
    assert "ZeroDivisionError" in read["traceback"]


def test_requests_are_logged_without_their_query(board, caplog):
    caplog.set_level(logging.INFO)
    board.get("/api/releases?app=hunter2")
    (record,) = [record for record in caplog.records if record.name == "deploykit.board"]
    assert (record.method, record.path, record.status) == ("GET", "/api/releases", 200)
    assert "hunter2" not in JsonFormatter().format(record)
