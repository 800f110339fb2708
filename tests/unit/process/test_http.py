"""Where a credential goes, and where not. Every other server here is an attacker's."""

from __future__ import annotations

import contextlib
import gzip

import httpx2
import pytest

from deploykit.process.http import Client, CredentialKept, basic, check_address, is_loopback, shown
from tests.shared.attackers import Listener, listening

ZIPPED = gzip.compress(b"x" * 2**20)
SECRET = "wren-and-finch"  # pragma: allowlist secret


@pytest.fixture
def board():
    with listening() as made:
        yield made


@pytest.fixture
def attacker():
    with listening("127.0.0.2") as made:
        yield made


@pytest.fixture
def client():
    with Client(timeout=10) as made:
        yield made


@pytest.fixture
def proxy(monkeypatch):
    """One that the environment names for everything, as in many a company."""
    with listening() as made:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, made.url)
            monkeypatch.setenv(name.upper(), made.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield made


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("method", "what"),
    [
        ("GET", {"authorization": f"Bearer {SECRET}"}),
        ("POST", {"authorization": f"Bearer {SECRET}", "json": {"event": 1}}),
        ("POST", {"data": {"refresh_token": SECRET}}),
        ("PUT", {"content": SECRET.encode()}),
    ],
)
def test_a_redirect_to_another_host_is_told_and_given_nothing(board, attacker, client, status, method, what):
    board.redirects(f"{attacker.url}/take?it=all", status)
    with pytest.raises(CredentialKept) as refused:
        client.request(method, board.url, **what)
    assert attacker.heard == []
    assert f"{attacker.url}/take" in refused.value.message
    assert SECRET not in str(refused.value)


def test_nor_is_another_port_of_the_same_host(board, client):
    with listening() as attacker:
        board.redirects(attacker.url)
        with pytest.raises(CredentialKept):
            client.request("GET", board.url, authorization=SECRET)
        assert attacker.heard == []


def test_user_and_password_of_an_address_are_a_credential(board, attacker, client):
    board.redirects(attacker.url)
    with pytest.raises(CredentialKept) as refused:
        client.request("GET", board.url.replace("//", f"//robin:{SECRET}@"))
    assert board.heard[0].headers["Authorization"] == basic("robin", SECRET)
    assert attacker.heard == []
    assert SECRET not in str(refused.value)


def test_on_the_same_origin_a_redirect_is_followed_with_it(board, client):
    board.answer = lambda heard: (200, {}, b"here") if heard.path == "/new" else (308, {"Location": "/new"}, b"")
    assert client.request("POST", f"{board.url}/old", authorization=SECRET, content=b"body").text == "here"
    assert [(heard.path, heard.headers["Authorization"], heard.body) for heard in board.heard] == [
        ("/old", SECRET, "body"),
        ("/new", SECRET, "body"),
    ]


def test_what_would_be_asked_again_without_its_body_is_not_taken_for_delivered(board, client):
    board.answer = lambda heard: (200, {}, b"") if heard.path == "/login" else (302, {"Location": "/login"}, b"")
    with pytest.raises(CredentialKept, match="answers 302, a redirect to"):
        client.request("POST", board.url, authorization=SECRET, content=b"event")


def test_without_a_credential_it_is_followed_but_not_to_plain_http_elsewhere(board, attacker, client):
    board.redirects(attacker.url)
    with pytest.raises(CredentialKept, match="not https"):
        client.request("GET", board.url)
    assert attacker.heard == []


@pytest.mark.parametrize("credential", [f"Bearer {SECRET}\n", f"Bearer {SECRET}\r\nX-Other: 1", f"Bearer {SECRET}ä"])
def test_what_no_header_can_hold_is_said_and_not_shown(board, client, credential):
    with pytest.raises(CredentialKept, match="characters that no header can hold") as refused:
        client.request("GET", board.url, authorization=credential)
    assert SECRET not in str(refused.value)
    assert board.heard == []


def test_a_circle_ends(board, client):
    board.redirects("/again")
    with pytest.raises(httpx2.TransportError, match="more than 5 redirects"):
        client.request("GET", board.url)
    assert len(board.heard) == 5


@pytest.mark.parametrize(
    ("headers", "body", "read"),
    [
        ({"Content-Encoding": "gzip"}, b"no gzip at all", b"no gzip at all"),
        ({"Content-Encoding": "gzip"}, ZIPPED, ZIPPED),
        ({}, b"x" * (2**24 + 1), None),
    ],
    ids=["broken", "compressed", "too-long"],
)
def test_an_answer_can_not_fill_the_memory_or_break_the_command(board, client, headers, body, read):
    board.answer = lambda _: (200, headers, body)
    if read is None:
        with pytest.raises(httpx2.TransportError, match="sends more than"):
            client.request("GET", board.url)
    else:
        assert client.request("GET", board.url).content == read


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost"])
def test_no_proxy_is_asked_for_loopback(proxy, client, host):
    with listening(host) as board:
        client.request("GET", board.url, authorization=SECRET)
        assert len(board.heard) == 1
    assert proxy.heard == []


@pytest.mark.parametrize("url", ["http://localhost", "http://127.0.0.1/", "http://[::1]", "http://LOCALHOST./"])
def test_nor_where_no_port_is_said(proxy, client, url):
    with contextlib.suppress(httpx2.TransportError):  # nobody has to listen on port 80
        client.request("GET", url, authorization=SECRET)
    assert proxy.heard == []


@pytest.mark.parametrize("url", ["http://board.example.org/x", "http://127.0.0.1.example.org", "http://127.1:8000"])
def test_plain_http_beyond_this_machine_is_refused_before_anything_is_sent(proxy, client, url):
    with pytest.raises(CredentialKept, match="plain http") as refused:
        client.request("GET", url, authorization=SECRET)
    assert proxy.heard == []
    assert refused.value.next_step.startswith("https://")


def test_unless_a_setting_says_so_for_that_very_host(proxy: Listener):
    with Client(timeout=10, insecure={"board.example.org"}) as client:
        client.request("GET", "http://board.example.org:8000/x", authorization=SECRET)
        assert SECRET in proxy.heard[0]
        with pytest.raises(CredentialKept):
            client.request("GET", "http://other.example.org:8000/x", authorization=SECRET)


@pytest.mark.parametrize("url", ["ftp://board.example.org", "file:///etc/passwd", "https://", "https://[", "board"])
def test_what_is_no_address_of_a_server_is_said(url):
    with pytest.raises(CredentialKept, match=r"is no (http )?address"):
        check_address(url)


def test_what_people_are_shown_holds_no_password():
    address = basic_address("h.example:5/x?token=hidden#hidden")
    assert shown(address) == "https://h.example:5/x"
    assert "hidden" not in shown(basic_address("["))


def basic_address(rest: str) -> str:
    return f"https://robin:{'hidden'}@{rest}"


@pytest.mark.parametrize("host", ["10.0.0.1", "127.0.0.1.example.org", "localhost.example.org", "", "0.0.0.0"])
def test_what_only_looks_like_loopback_is_none(host):
    assert not is_loopback(host)
