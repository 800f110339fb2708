"""The board over HTTP, on SQLite."""

from __future__ import annotations

import base64
import json

import pytest

from deploykit.board.access import Tokens
from deploykit.board.events import KINDS
from deploykit.board.store import Store


def test_an_event_shows_up_as_a_release(board, post, event, now):
    post(event(actor="mara", commit="c0ffee"))
    stages = [{"name": "build", "seconds": 2.5, "outcome": "done"}]
    post(event(kind="finished", outcome="done", at=now, stages=stages, url="https://shop.example/"))
    (release,) = board.get("/api/releases").json()["releases"]
    assert release["outcome"] == "done"
    assert (release["version"], release["actor"], release["commit"]) == ("1.0.0", "mara", "c0ffee")
    assert release["stages"] == stages
    assert release["started_at"] == "2027-01-15T07:59:00+00:00"
    assert release["finished_at"] == "2027-01-15T08:00:00+00:00"


def test_the_same_event_twice_counts_once(board, post, event, token):
    sent = event()
    assert post(sent).json() == {"id": sent["id"], "duplicate": False, "ignored": []}
    again = board.post("/api/events", json=sent, headers=token)
    assert (again.status_code, again.json()["duplicate"]) == (200, True)
    assert len(board.get("/api/releases").json()["releases"]) == 1


@pytest.mark.parametrize("other", [{"version": "2"}, {"environment": "other"}, {"release": "r2"}])
def test_an_id_used_for_something_else_is_a_conflict_and_changes_nothing(board, post, event, token, other):
    sent = event()
    post(sent)
    before = board.get("/api/apps").text, board.get("/api/releases").text
    answer = board.post("/api/events", json={**sent, **other}, headers=token)
    assert answer.status_code == 409
    assert sent["id"] in answer.json()["error"]
    assert (board.get("/api/apps").text, board.get("/api/releases").text) == before


@pytest.mark.parametrize(
    "shown",
    ["", "Bearer", "Bearer ", "Bearer wrong", "Basic token-of-shop", "token-of-shop", "Bearer tokén-of-shop"],
)
def test_only_the_token_lets_events_in(board, event, shown):
    headers = {"Authorization": shown.encode()} if shown else {}
    answer = board.post("/api/events", json=event(), headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert board.get("/api/apps").json() == {"apps": []}


def test_a_board_without_a_token_takes_nothing_and_says_why(board_with, event):
    answer = board_with(tokens=Tokens()).post("/api/events", json=event(), headers={"Authorization": "Bearer "})
    assert answer.status_code == 503
    assert "BOARD_TOKEN" in answer.json()["error"]


def test_mistakes_are_listed(board, token):
    answer = board.post("/api/events", content=b'{"kind": "begun"}', headers=token)
    assert answer.status_code == 422
    fields = {mistake["field"]: mistake["message"] for mistake in answer.json()["mistakes"]}
    assert set(fields) == {"id", "app", "environment", "release", "kind", "at"}
    assert all(kind in fields["kind"] for kind in KINDS)


def test_a_huge_body_is_refused_whether_announced_or_not(board, event, token):
    body = json.dumps(event(reason="x" * 70_000)).encode()
    assert board.post("/api/events", content=body, headers=token).status_code == 413
    chunks = (body[start : start + 1000] for start in range(0, len(body), 1000))
    assert board.post("/api/events", content=chunks, headers=token).status_code == 413


def test_two_ledgers_that_count_alike_are_kept_apart(board, post, event):
    post(event(source="laptop"))
    post(event(source="desktop", version="7"))
    versions = {release["source"]: release["version"] for release in board.get("/api/releases").json()["releases"]}
    assert versions == {"laptop": "1.0.0", "desktop": "7"}


def test_a_failed_release_leaves_the_one_before_live(board, post, event, now):
    post(event(release="r1", kind="finished", outcome="done", at=now - 50))
    post(event(release="r2", kind="finished", outcome="failed", version="2", at=now - 40))
    post(event(release="r3", kind="finished", outcome="rolled back", version="3", at=now - 30))
    post(event(release="r4", version="4", at=now - 20))
    (environment,) = board.get("/api/apps").json()["apps"][0]["environments"]
    assert environment["live"]["release"] == "r1"
    assert [release["release"] for release in environment["running"]] == ["r4"]


def test_a_rollback_makes_the_old_version_live_again(board, post, event, now):
    post(event(release="r1", kind="finished", outcome="done", at=now - 50))
    post(event(release="r2", kind="finished", outcome="done", version="2", at=now - 40))
    post(event(release="r3", kind="finished", outcome="done", operation="rollback", at=now - 30))
    (environment,) = board.get("/api/apps").json()["apps"][0]["environments"]
    assert (environment["live"]["version"], environment["live"]["operation"]) == ("1.0.0", "rollback")


def test_a_release_overtaken_by_a_newer_one_is_not_running(board, post, event, now):
    post(event(release="r1", at=now - 50))
    post(event(release="r2", at=now - 40))
    (environment,) = board.get("/api/apps").json()["apps"][0]["environments"]
    assert [release["release"] for release in environment["running"]] == ["r2"]


def test_releases_can_be_narrowed(board, post, event, now):
    for number, (app, environment) in enumerate([("shop", "local"), ("shop", "staging"), ("desk", "local")]):
        post(event(app=app, environment=environment, at=now - number))

    def shown(query):
        return [(r["app"], r["environment"]) for r in board.get(f"/api/releases{query}").json()["releases"]]

    assert shown("") == [("shop", "local"), ("shop", "staging"), ("desk", "local")]
    assert shown("?app=shop") == [("shop", "local"), ("shop", "staging")]
    assert shown("?app=shop&environment=staging&limit=200") == [("shop", "staging")]
    assert shown("?limit=1") == [("shop", "local")]
    assert shown("?app=' OR 1=1 --") == []


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "", "1e3", "٣", "9" * 5000])
def test_a_limit_is_a_small_number(board, limit):
    answer = board.get("/api/releases", params={"limit": limit})
    assert answer.status_code == 400
    assert "limit" in answer.json()["error"]


def test_reading_takes_a_token_unless_only_this_machine_can(board_with, event, token):
    for readers in ((), ("readers-token", "readers-new-token")):
        board = board_with(open_to_readers=False, tokens=Tokens(apps=[("shop", "token-of-shop")], readers=readers))
        for path in ("/", "/apps/shop", "/api/apps", "/api/releases"):
            assert board.get(path).status_code == 401
            for wrong in (
                "Basic !!!",
                "Basic " + base64.b64encode(b"\xff\xfe").decode(),
                "Basic YTpi",
                *(f"Digest {each}" for each in readers),
            ):
                assert board.get(path, headers={"Authorization": wrong}).status_code == 401
            for right in readers:
                basic = "Basic " + base64.b64encode(f"anyone:{right}".encode()).decode()
                for shown in (f"Bearer {right}", basic):
                    assert board.get(path, headers={"Authorization": shown}).status_code in {200, 404}
        assert board.get("/health").status_code == 200
        assert board.post("/api/events", json=event(), headers=token).status_code == 201


def test_the_token_of_one_app_writes_nothing_of_another(board, event, token):
    answer = board.post("/api/events", json=event(app="desk"), headers=token)
    assert (answer.status_code, answer.json()) == (
        403,
        {"error": "This is the token of shop: it reports on no other app."},
    )
    assert board.get("/api/apps").json() == {"apps": []}


def test_while_a_token_is_changed_both_are_right(board_with, event):
    board = board_with(tokens=Tokens(apps=[("shop", "old"), ("shop", "new")]))
    for right in ("old", "new"):
        headers = {"Authorization": f"Bearer {right}"}
        assert board.post("/api/events", json=event(), headers=headers).status_code == 201


def test_an_app_reads_of_itself_and_of_no_other(board_with, event, token):
    board = board_with(open_to_readers=False)
    desk = {"Authorization": "Bearer token-of-desk"}
    assert board.post("/api/events", json=event(), headers=token).status_code == 201
    assert board.post("/api/events", json=event(app="desk"), headers=desk).status_code == 201
    assert [app["name"] for app in board.get("/api/apps", headers=token).json()["apps"]] == ["shop"]
    assert [one["app"] for one in board.get("/api/releases", headers=token).json()["releases"]] == ["shop"]
    assert board.get("/api/releases?app=desk", headers=token).status_code == 403
    assert "desk" not in board.get("/", headers=token).text
    assert board.get("/apps/shop", headers=token).status_code == 200
    for other in ("desk", ""):
        assert board.get(f"/apps/{other}", headers=token).status_code == 404


def test_two_names_are_none(board):
    for hosts in (("localhost", "evil.example.org"), ("evil.example.org", "localhost")):
        assert board.get("/api/apps", headers=[("Host", host) for host in hosts]).status_code == 400


def test_no_token_is_nobodys():
    tokens = Tokens(apps=[("shop", "")], readers=("",))
    for shown in ("", "Bearer", "Bearer ", "Basic YTo="):
        assert (tokens.writer(shown), tokens.reader(shown)) == (None, None)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:8000", "[::1]", "[::1]:8000"])
def test_loopback_is_a_name_of_the_board(board, host):
    assert board.get("/api/apps", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example.org", "evil.example.org:8000", "127.0.0.1.example.org", "localhost.example.org", ""),
        *("localhost:x", "[::1", "10.0.0.1", "localhost, evil.example.org", "localhost@evil.example.org"),
    ],
)
def test_a_page_whose_name_was_made_to_lead_here_reads_nothing(board, event, token, host):
    """DNS rebinding: a browser on this machine sends the attacker's name as Host."""
    board.post("/api/events", json=event(), headers=token)
    for path in ("/", "/apps/shop", "/api/apps", "/api/releases", "/health", "/board.css"):
        answer = board.get(path, headers={"Host": host})
        assert answer.status_code == 400
        assert "shop" not in answer.text
        assert "version" not in answer.text
    assert board.post("/api/events", json=event(), headers={**token, "Host": host}).status_code == 400


def test_the_names_of_the_settings_are_the_boards_too(board_with):
    board = board_with(hosts=("board.example.org",))
    assert board.get("/api/apps", headers={"Host": "Board.example.org:8443"}).status_code == 200
    assert board.get("/api/apps", headers={"Host": "other.example.org"}).status_code == 400
    answer = board.get("/api/apps", headers={"Host": "other.example.org", "X-Forwarded-Host": "board.example.org"})
    assert answer.status_code == 400
    assert "BOARD_HOSTS" in answer.json()["error"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_does_not_exist_is_not_found_in_json(board):
    answer = board.get("/api/nothing")
    assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"})
    assert board.get("/api/events").status_code == 405


def test_a_defect_is_answered_without_its_traceback(board, monkeypatch):
    def break_down(_store):
        raise RuntimeError("hunter2")

    monkeypatch.setattr(Store, "apps", break_down)
    answer = board.get("/api/apps")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
