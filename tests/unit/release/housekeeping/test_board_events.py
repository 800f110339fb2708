"""What the release board is told, to a real HTTP server on the loopback."""

from __future__ import annotations

import http.server
import json
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from deploykit.model import DeploykitError, Secret
from deploykit.release.housekeeping.board_events import deliver, report_start, report_to_board
from deploykit.release.reporting.reporter import ReleaseReport
from deploykit.release.version.values import store_values
from tests.shared.attackers import listening


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    monkeypatch.delenv("BOARD_TOKEN", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def board():
    """A board that notes what it is sent, and answers with `board.status`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.got.append((self.path, self.headers["Authorization"], json.loads(body)))
            self.send_response(made.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = SimpleNamespace(got=[], status=201, url=f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    server.shutdown()
    thread.join(10)
    server.server_close()


def with_board(environment, url: str, *, insecure: bool = False):
    environment.repository = SimpleNamespace(
        settings=SimpleNamespace(board=SimpleNamespace(url=url, token_variable="BOARD_TOKEN", insecure=insecure))
    )
    return environment


def report(record) -> ReleaseReport:
    return ReleaseReport(
        outcome=record.outcome.value,
        release=record.id,
        app="shop",
        environment="local",
        version=record.version,
        digest=record.digest,
        url="http://127.0.0.1:1",
        anchor="",
        stages=(),
        reason="x" * 2_000,
    )


def test_the_end_of_a_release_is_sent_with_the_token_and_then_forgotten(environment, released, board, monkeypatch):
    monkeypatch.setenv("BOARD_TOKEN", "wren-and-finch")
    record, warned = released("1.0.0"), []
    report_to_board(with_board(environment, board.url + "/"), report(record), warned.append)
    ((path, authorization, event),) = board.got
    assert (path, authorization) == ("/api/events", "Bearer wren-and-finch")
    assert (event["release"], event["version"], event["outcome"], event["kind"]) == ("r1", "1.0.0", "done", "finished")
    assert len(event["reason"]) == 500
    assert list(environment.ledger.timers()) == []
    assert warned == []


def test_the_token_is_the_live_versions_own_when_the_shell_has_none(environment, released, board):
    record = released("1.0.0")
    store_values(environment.paths.values, record.id, {"BOARD_TOKEN": Secret("its-own")})
    report_to_board(with_board(environment, board.url), report(record), pytest.fail)
    assert board.got[0][1] == "Bearer its-own"


def test_without_any_the_generated_one_is_taken(environment, released, board):
    store_values(environment.paths.values, "generated", {"BOARD_TOKEN": Secret("generated")})
    report_to_board(with_board(environment, board.url), report(released("1.0.0")), pytest.fail)
    assert board.got[0][1] == "Bearer generated"


def test_a_companys_proxy_is_not_asked_for_this_machines_board(environment, released, board, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    report_to_board(with_board(environment, board.url), report(released("1.0.0")), pytest.fail)
    assert len(board.got) == 1


def test_no_board_is_told_nothing(environment, released):
    record = released("1.0.0")
    report_to_board(environment, report(record), pytest.fail)
    report_to_board(with_board(environment, ""), report(record), pytest.fail)
    report_start(environment, record)
    assert list(environment.ledger.timers()) == []


def test_a_board_that_does_not_answer_fails_nothing_and_is_told_later(environment, released, board):
    record, warned = released("1.0.0"), []
    board.status = 503
    report_to_board(with_board(environment, board.url), report(record), warned.append)
    (said,) = warned
    assert "HTTP 503" in said
    assert "a later command sends it again" in said
    (timer,) = environment.ledger.timers()
    assert timer.due_at > time.time() + 30
    board.status = 201
    deliver(environment, timer)
    assert [event["id"] for _, _, event in board.got] == [board.got[0][2]["id"]] * 2, "the same event, told twice"
    assert list(environment.ledger.timers()) == []


def test_what_the_board_will_never_take_is_not_sent_again(environment, released, board):
    board.status = 422
    warned = []
    report_to_board(with_board(environment, board.url), report(released("1.0.0")), warned.append)
    assert len(warned) == 1
    assert list(environment.ledger.timers()) == []


def test_after_a_week_it_is_let_go(environment, released, board):
    board.status = 503
    payload = {"event": {"id": "x"}, "first": time.time() - 8 * 86_400}
    timer = environment.ledger.add_timer("report", released("1.0.0").id, 0.0, payload)
    with pytest.raises(DeploykitError):
        deliver(with_board(environment, board.url), timer)
    assert list(environment.ledger.timers()) == []


def test_only_http_is_spoken(environment, released):
    warned = []
    report_to_board(with_board(environment, "file:///etc/passwd"), report(released("1.0.0")), warned.append)
    assert "is no http address" in warned[0]
    assert list(environment.ledger.timers()) == []


def test_the_start_is_told_once_or_never(environment, released, board):
    record = released("1.0.0")
    board.status = 503
    report_start(with_board(environment, board.url), record)
    assert board.got[0][2]["kind"] == "started"
    assert list(environment.ledger.timers()) == []
    report_start(with_board(environment, "self"), record)
    assert len(board.got) == 1, "its own board does not run yet"


def test_a_board_that_does_not_answer_is_asked_once_and_in_an_incident_not_at_all(environment, released, board):
    """Twenty events that wait made a rollback wait a minute."""
    from deploykit.release.housekeeping.reap import reap

    board.status = 503
    record = released("1.0.0")
    with_board(environment, board.url)
    for _ in range(20):
        environment.ledger.add_timer("report", record.id, 0.0, {"event": {"id": "1"}, "first": time.time()})
    assert reap(environment, events=False).problems == ()
    assert board.got == []
    assert len(reap(environment).problems) == 1
    assert len(board.got) == 1
    assert len(list(environment.ledger.timers())) == 20


def test_an_event_that_can_not_be_read_any_more_is_dropped_and_said(environment, board):
    timer = environment.ledger.add_timer("report", "r1", 1.0, {"first": 1.0})
    with pytest.raises(DeploykitError, match="an event of r1 for the board can't be read any more"):
        deliver(with_board(environment, board.url), timer)
    assert environment.ledger.timers() == []
    assert board.got == []


@pytest.mark.parametrize(
    ("event", "first"),
    [
        ({"at": float("nan")}, 1.0),
        ({"stages": [{"seconds": float("inf")}]}, 1.0),
        ({"actor": "\ud800"}, 1.0),
        ({}, 10**400),
        ({}, float("inf")),
        ({}, float("nan")),
    ],
    ids=["NaN", "Infinity", "surrogate", "first: long", "first: Infinity", "first: NaN"],
)
def test_an_event_that_no_json_can_hold_is_dropped_and_said(environment, board, event, first):
    """Who writes the ledger by hand can put it there: Python reads such numbers."""
    timer = replace(environment.ledger.add_timer("report", "r1", 1.0, {}), payload={"event": event, "first": first})
    with pytest.raises(DeploykitError, match="an event of r1 for the board can't be read any more"):
        deliver(with_board(environment, board.url), timer)
    assert environment.ledger.timers() == []
    assert board.got == []


def test_a_row_of_the_ledger_sends_no_variable_anywhere(environment, released, board, monkeypatch):
    """Who could write the ledger got any variable of the operator's sent to any address."""
    monkeypatch.setenv("CLOUD_KEY", "wren-and-finch")
    row = {"url": board.url, "token_variable": "CLOUD_KEY", "event": {"app": "bank"}, "first": time.time()}
    timer = environment.ledger.add_timer("report", released("1.0.0").id, 0.0, row)
    with pytest.raises(DeploykitError, match="waits for a command in the repository"):
        deliver(environment, timer)
    assert environment.ledger.timers() == [timer]

    deliver(with_board(environment, board.url + "/ours"), timer)
    ((path, authorization, event),) = board.got
    assert (path, authorization) == ("/ours/api/events", None)
    assert (event["app"], event["environment"]) == ("shop", "local"), "the token speaks for no other app"


def test_an_event_is_forgotten_where_the_settings_name_no_board_any_more(environment, released):
    timer = environment.ledger.add_timer("report", released("1.0.0").id, 0.0, {"event": {}, "first": time.time()})
    deliver(with_board(environment, ""), timer)
    assert environment.ledger.timers() == []


def test_the_token_does_not_follow_the_board_to_another_host(environment, released, monkeypatch):
    monkeypatch.setenv("BOARD_TOKEN", "wren-and-finch")
    warned = []
    with listening() as board, listening("127.0.0.2") as attacker:
        for status in (302, 307):
            board.redirects(f"{attacker.url}/api/events", status)
            report_to_board(with_board(environment, board.url), report(released("1.0.0")), warned.append)
        assert attacker.heard == []
        assert all(f"sends on to {attacker.url}/api/events" in said for said in warned)
    assert len(warned) == 2
    assert list(environment.ledger.timers()) == [], "asking again would not help"


def test_a_board_that_sends_in_circles_is_a_warning(environment, released):
    warned = []
    with listening() as board:
        board.redirects("/api/events", 307)
        report_to_board(with_board(environment, board.url), report(released("1.0.0")), warned.append)
    assert "more than 5 redirects" in warned[0]


def test_no_proxy_sees_the_token_of_a_board_without_a_port(environment, released, monkeypatch):
    monkeypatch.setenv("BOARD_TOKEN", "wren-and-finch")
    with listening() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        report_to_board(with_board(environment, "http://localhost"), report(released("1.0.0")), lambda _: None)
        assert proxy.heard == []


def test_the_token_goes_by_plain_http_only_where_the_settings_say_so(environment, released, monkeypatch):
    monkeypatch.setenv("BOARD_TOKEN", "wren-and-finch")
    warned = []
    with listening() as proxy:  # whoever is on the way
        monkeypatch.setenv("http_proxy", proxy.url)
        report_to_board(with_board(environment, "http://board.test"), report(released("1.0.0")), warned.append)
        assert proxy.heard == []
        assert "plain http" in warned[0]
        assert "insecure = true" in warned[0]
        with_board(environment, "http://board.test", insecure=True)
        report_to_board(environment, report(released("1.0.1")), pytest.fail)
        assert len(proxy.heard) == 1


def test_an_event_waits_for_a_command_that_knows_the_settings(environment, released, board):
    payload = {"event": {"id": "1"}, "first": time.time()}
    timer = environment.ledger.add_timer("report", released("1.0.0").id, 0.0, payload)
    environment.repository = None
    with pytest.raises(DeploykitError, match="waits for a command in the repository"):
        deliver(environment, timer)
    assert [each.id for each in environment.ledger.timers()] == [timer.id]
    deliver(with_board(environment, ""), timer)
    assert list(environment.ledger.timers()) == [], "the settings name no board any more"
    assert board.got == []
