"""The board as it is run: a process, a real PostgreSQL, real signals."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg

from deploykit.board import database, events
from deploykit.board.store import Store


def test_it_is_healthy_and_says_its_version(start_board, migrated):
    board = start_board(migrated).wait_until_listening()
    status, answer = board.get("/health")
    assert (status, answer["status"], answer["version"]) == (200, "healthy", "1.2.3")


def test_a_sigterm_while_requests_are_in_flight_loses_none(board, migrated, event):
    """The writes wait for a lock that is released only after the signal."""
    count = 8
    with psycopg.connect(migrated) as holder, ThreadPoolExecutor(count) as pool:
        holder.execute("LOCK TABLE releases IN ACCESS EXCLUSIVE MODE")
        answers = [pool.submit(board.post, event(app=f"app-{number}")) for number in range(count)]
        with psycopg.connect(migrated, autocommit=True) as watcher:
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            while watcher.execute(waiting).fetchone() != (count,):
                time.sleep(0.01)
        board.process.terminate()
        while not any(line["message"] == "draining" for line in board.log):
            time.sleep(0.01)
        holder.rollback()
        assert [answer.result()[0] for answer in answers] == [201] * count
    assert board.process.wait(10) == 0
    with psycopg.connect(migrated) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (count,)


def test_busy_keep_alive_clients_that_never_retry_lose_nothing_when_it_stops(board):
    lost: list[str] = []
    answered = [0] * 8
    closed = [False] * 8

    def client(number: int) -> None:
        connection = board.connection()
        while not closed[number]:
            try:
                connection.request("GET", "/api/apps")
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                lost.append(repr(error))
                return
            if answer.status != 200:
                lost.append(str(answer.status))
            answered[number] += 1
            closed[number] = answer.headers["connection"] == "close"

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    while min(answered) < 20:
        time.sleep(0.01)
    assert board.terminate() == 0
    for thread in threads:
        thread.join(10)
    assert lost == []
    assert all(closed)


def test_who_was_silent_when_it_was_asked_to_stop_is_still_answered(start_board, migrated):
    board = start_board(migrated, "--linger", "20").wait_until_listening()
    known = board.connection()
    known.request("GET", "/api/apps")
    assert known.getresponse().read()
    board.process.terminate()
    while not any(line["message"] == "draining" for line in board.log):
        time.sleep(0.01)
    late = board.connection()
    for connection in (late, known):
        connection.request("GET", "/api/apps")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        answer.read()
    assert board.process.wait(10) == 0


def test_silent_connections_hold_it_no_longer_than_it_lingers(start_board, migrated):
    board = start_board(migrated, "--linger", "0.3").wait_until_listening()
    idle = board.connection()
    idle.request("GET", "/health")
    assert idle.getresponse().read()
    unused = socket.create_connection(("127.0.0.1", board.port))
    began = time.monotonic()
    assert board.terminate() == 0
    assert time.monotonic() - began < 5
    unused.close()
    idle.close()


def test_a_request_that_never_ends_is_given_up_after_the_drain(start_board, migrated, event):
    board = start_board(migrated, "--drain", "1", "--linger", "0").wait_until_listening()
    with psycopg.connect(migrated) as holder:
        holder.execute("LOCK TABLE releases IN ACCESS EXCLUSIVE MODE")
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(board.post, event())
            with psycopg.connect(migrated, autocommit=True) as watcher:
                waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                while watcher.execute(waiting).fetchone() != (1,):
                    time.sleep(0.01)
            assert board.terminate() == 0
            assert answer.exception() is not None or answer.result()[0] >= 500


def test_ctrl_c_stops_it_as_well_and_twice_at_once(start_board, migrated):
    board = start_board(migrated, "--linger", "30").wait_until_listening()
    idle = socket.create_connection(("127.0.0.1", board.port))
    board.process.send_signal(signal.SIGINT)
    while not any(line["message"] == "draining" for line in board.log):
        time.sleep(0.01)
    board.process.send_signal(signal.SIGINT)
    assert board.process.wait(10) == 0
    idle.close()


def test_its_log_is_json_without_queries_and_tokens(board, event):
    board.post(event())
    board.get("/api/releases?app=hunter2")
    assert board.terminate() == 0
    assert [line["message"] for line in board.log if line["message"] != "request"] == [
        "starting",
        "draining",
        "stopped",
    ]
    requests = [(line["method"], line["path"], line["status"]) for line in board.log if line["message"] == "request"]
    assert requests == [("POST", "/api/events", 201), ("GET", "/api/releases", 200)]
    assert "hunter2" not in board.output.read_text()
    assert "token-of-shop" not in board.output.read_text()


def test_a_taken_port_ends_it_with_a_sentence(board, start_board, migrated):
    second = start_board(migrated, "--port", str(board.port))
    assert second.process.wait(20) == 1
    assert "address already in use" in second.output.read_text()
    assert "Traceback" not in second.output.read_text()


def test_beyond_loopback_reading_takes_a_token_and_an_app_reads_of_itself(start_board, migrated, event):
    board = start_board(migrated, "--host", "0.0.0.0").wait_until_listening()
    assert board.post(event())[0] == 201
    assert board.get("/api/apps")[0] == 401
    assert board.get("/health") == (200, {"status": "healthy", "version": "1.2.3"})
    (app,) = board.get("/api/apps", Authorization="Bearer token-of-shop")[1]["apps"]
    assert app["name"] == "shop"
    assert board.get("/api/apps", Authorization="Bearer token-of-app-1") == (200, {"apps": []})
    assert board.get("/api/apps", Authorization="Bearer token-of-shop", Host="evil.example.org")[0] == 400
    assert board.terminate() == 0
    assert any("BOARD_READ_TOKEN" in line["message"] for line in board.log if line["level"] == "warning")


def test_names_of_apps_survive_being_part_of_an_address(board, migrated, event):
    name = "a/b %2f%20?x#y"
    engine = database.connect(migrated)
    Store(engine, time.time).record(events.parse(json.dumps(event(app=name)).encode())[0])
    engine.dispose()
    assert board.get("/apps/a%2Fb%20%252f%2520%3Fx%23y")[0] == 200
    assert b"/apps/a%2Fb%20%252f%2520%3Fx%23y" in board.get("/")[1]
