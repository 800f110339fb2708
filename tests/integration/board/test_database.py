"""The board and its PostgreSQL: races, restarts, silence."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.shared.postgres import postgres_18


def test_the_same_event_sent_by_many_at_once_is_stored_once(board, event, migrated):
    sent = event()
    with ThreadPoolExecutor(16) as pool:
        answers = [answer.result() for answer in [pool.submit(board.post, sent) for _ in range(32)]]
    assert sorted(status for status, _ in answers) == [200] * 31 + [201]
    assert sum(not body["duplicate"] for _, body in answers) == 1
    with psycopg.connect(migrated) as connection:
        counts = "SELECT (SELECT count(*) FROM apps), (SELECT count(*) FROM releases), (SELECT count(*) FROM events)"
        assert connection.execute(counts).fetchone() == (1, 1, 1)


def test_one_id_for_two_contents_at_once_lets_one_of_them_win(board, event):
    one = event()
    other = {**one, "app": "desk"}
    with ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(board.post, (one, other)[number % 2]) for number in range(32)]
        statuses = sorted(answer.result()[0] for answer in answers)
    assert statuses == [200] * 15 + [201] + [409] * 16
    assert len(board.get("/api/apps")[1]["apps"]) == 1


def test_events_of_one_release_that_come_at_once_all_count(board, event):
    now = time.time()
    stages = [{"name": f"stage {number:02}", "seconds": number, "outcome": "done"} for number in range(20)]
    sent = [event(kind="stage", at=now + number, stages=[stage]) for number, stage in enumerate(stages)]
    sent += [event(at=now), event(kind="finished", outcome="done", at=now + 30)]
    with ThreadPoolExecutor(8) as pool:
        assert {answer[0] for answer in pool.map(board.post, reversed(sent))} == {201}
    (release,) = board.get("/api/releases")[1]["releases"]
    assert release["outcome"] == "done"
    assert release["stages"] == stages


def test_hostile_text_reaches_postgresql_as_text_or_not_at_all(board, event):
    name = "'; DROP TABLE apps; -- \u202e \U0001f4a3 %s %(x)s :x"
    assert board.post(event(environment=name))[0] == 201
    assert board.post(event(app="nul\x00"), "shop")[0] == 422
    assert board.post(event(app="\ud800"), "shop")[0] == 422
    assert board.post(event(app=name), "shop")[0] == 403
    (shop,) = board.get("/api/apps")[1]["apps"]
    assert [environment["name"] for environment in shop["environments"]] == [name]
    assert board.get("/api/releases?app=%00")[0] == 404
    assert board.get("/api/releases?app=%ED%A0%80")[0] in {200, 404}
    assert board.get("/health")[0] == 200


@pytest.fixture(scope="module")
def own_postgres():
    """A server that may be stopped."""
    with postgres_18() as server:
        yield server


def test_it_outlives_a_restart_of_its_database(own_postgres, start_board, migrate, event):
    url = own_postgres.create()
    migrate(url, "upgrade", "head")
    board = start_board(url).wait_until_listening()
    assert board.post(event())[0] == 201

    own_postgres.stop()
    status, answer = board.get("/health")
    assert (status, answer["status"]) == (503, "unhealthy")
    assert "does not answer" in answer["checks"]["database"]
    assert board.get("/")[0] == 503
    assert board.post(event(release="r2"))[0] == 503

    own_postgres.start()
    assert board.get("/health")[0] == 200
    assert board.post(event(release="r2"))[0] == 201
    assert len(board.get("/api/releases")[1]["releases"]) == 2


def test_nobody_notices_a_database_that_was_restarted_between_two_requests(own_postgres, start_board, migrate, event):
    url = own_postgres.create()
    migrate(url, "upgrade", "head")
    board = start_board(url).wait_until_listening()
    with ThreadPoolExecutor(8) as pool:  # so that the pool holds several connections
        assert {answer[0] for answer in pool.map(board.post, [event(app=f"app-{n}") for n in range(16)])} == {201}
    own_postgres.stop()
    own_postgres.start()
    assert [board.post(event(app=f"app-{number}"))[0] for number in range(8)] == [201] * 8


def test_it_starts_before_its_database_does(own_postgres, start_board, migrate):
    url = own_postgres.create()
    own_postgres.stop()
    board = start_board(url).wait_until_listening()
    status, answer = board.get("/health")
    assert (status, answer["status"]) == (503, "unhealthy")

    own_postgres.start()
    assert board.get("/health")[1]["checks"] == {"database": "The board's tables are missing: run its migrations."}
    migrate(url, "upgrade", "head")
    assert board.get("/health")[0] == 200


def test_a_database_that_is_stuck_makes_it_unhealthy_until_it_moves_again(board, migrated):
    with psycopg.connect(migrated) as holder:
        holder.execute("LOCK TABLE apps IN ACCESS EXCLUSIVE MODE")
        status, answer = board.get("/health")
        assert status == 503
        assert answer["checks"] == {"database": "The database did not answer within 2 seconds."}
    assert board.get("/health")[0] == 200


def test_a_database_that_says_nothing_makes_it_unhealthy(start_board):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        board = start_board(f"postgresql://u:hunter2@127.0.0.1:{port}/db?sslmode=disable").wait_until_listening()
        for _ in range(3):
            status, answer = board.get("/health")
            assert status == 503
            assert "hunter2" not in json.dumps(answer)
        assert board.terminate() == 0
