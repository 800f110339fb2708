"""What `/health` says, and what a board does whose database is not there."""

from __future__ import annotations

import json
import logging

import pytest
import sqlalchemy
from starlette.testclient import TestClient

from deploykit.board import database
from deploykit.board.access import Tokens
from deploykit.board.app import create_app
from deploykit.board.config import Config, ConfigError
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


def test_strangers_are_told_nothing_of_the_database(board_with):
    for url in ("", "postgresql://u:hunter2@127.0.0.1:1/db"):
        board = board_with(database_url=url, open_to_readers=False, release="r7", environment="staging")
        answer = board.get("/health")
        assert (answer.status_code, answer.json()) == (503, {"status": "unhealthy", "version": "9.9"})
        for shown in ("token-of-shop", "wrong"):
            assert "checks" not in board.get("/health", headers={"Authorization": f"Bearer {shown}"}).json()


def test_those_with_a_token_for_it_are(board_with):
    board = board_with(open_to_readers=False, tokens=Tokens(readers=["hunter2"]), release="r7", environment="staging")
    assert board.get("/health").json() == {"status": "healthy", "version": "9.9"}
    told = board.get("/health", headers={"Authorization": "Bearer hunter2"}).json()
    assert told["checks"] == {"database": "ok"}
    assert (told["release"], told["environment"]) == ("r7", "staging")


def test_missing_tables_are_the_cause(tmp_path):
    app = create_app(Config(database_url=f"sqlite:///{tmp_path}/empty.db", open_to_readers=True))
    with TestClient(app, base_url="http://localhost") as board:
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
        "DEPLOYKIT_APP": "release-board",
        "BOARD_TOKEN": "hunter2",
        "BOARD_TOKENS": " shop=hunter3\nshop=hunter4=  desk=hunter5",
        "BOARD_READ_TOKEN": "hunter6 hunter7",
        "BOARD_HOSTS": "Board.example.org. board",
        "DEPLOYKIT_VERSION": "1.2",
        "DEPLOYKIT_RELEASE": "r1",
        "DEPLOYKIT_ENVIRONMENT": "local",
    }
    config = Config.from_environ(environ)
    assert config.database_url == "sqlite://"
    assert config.tokens.apps == (
        *(("release-board", "hunter2"), ("shop", "hunter3")),
        *(("shop", "hunter4="), ("desk", "hunter5")),
    )
    assert config.tokens.readers == ("hunter6", "hunter7")
    assert config.hosts == ("board.example.org", "board")
    assert (config.version, config.release, config.environment) == ("1.2", "r1", "local")
    assert "hunter" not in repr(config)
    assert Config.from_environ({}).version


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"BOARD_TOKEN": "hunter2"}, "DEPLOYKIT_APP names none"),
        ({"BOARD_TOKENS": "shop=a hunter2"}, "entry 2 is not"),
        ({"BOARD_TOKENS": "shop="}, "entry 1 is not"),
        ({"BOARD_TOKENS": "=hunter2"}, "entry 1 is not"),
        ({"BOARD_TOKENS": "shop=hunter2 desk=hunter2"}, "shop has a token that somebody else has"),
        ({"BOARD_TOKENS": "shop=hunter2", "BOARD_READ_TOKEN": "hunter2"}, "shop has a token that somebody else has"),
        (
            {"BOARD_TOKENS": "readers=hunter2", "BOARD_READ_TOKEN": "hunter2"},
            "readers has a token that somebody else has",
        ),
    ],
)
def test_variables_that_would_give_away_rights_are_refused(environ, says):
    with pytest.raises(ConfigError, match=says) as refused:
        Config.from_environ(environ)
    assert "hunter" not in str(refused.value)


def test_only_loopback_without_a_reading_token_is_open_to_readers():
    assert Config.from_environ({}, on_loopback=True).open_to_readers
    assert not Config.from_environ({}).open_to_readers
    assert not Config.from_environ({"BOARD_READ_TOKEN": "x"}, on_loopback=True).open_to_readers


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
