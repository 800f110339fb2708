from __future__ import annotations

import dataclasses

import pytest

from deploykit.edge.config import ConfigOptions, check_server, render
from deploykit.edge.errors import EdgeError
from deploykit.edge.haproxy import _maxconn
from deploykit.edge.interface import EdgeOptions, Server
from deploykit.edge.state import EdgeState, parse_state
from deploykit.model import UsageError

STATE = EdgeState(port=8000, token="feed", options=EdgeOptions(), servers={}, past={})
OPTIONS = ConfigOptions(app="shop", environment="local", maxconn=1000, threads=2, hard_stop_after=900.0)
R1 = Server(name="r1-web-0", release="r1", host="127.0.0.1", port=4001)
R2 = Server(name="r2-web-0", release="r2", host="::1", port=4002)


def test_what_is_written_is_read_back():
    state = STATE.with_server(R1, 100).with_server(R2).with_server(dataclasses.replace(R1, name="r0"))
    state = state.without(["r0"])
    assert parse_state(render(state, OPTIONS), source="x") == state
    assert state.past == {"r0": "r1"}


def test_the_weights_stand_in_the_lines_that_haproxy_reads():
    text = render(STATE.with_server(R1, 100).with_server(R2), OPTIONS)
    assert "server r1-web-0 127.0.0.1:4001 weight 100 check" in text
    assert "server r2-web-0 [::1]:4002 weight 0 check" in text
    probe = text.partition("\nbackend probe")[2]
    assert probe.count("weight 0") == 2
    assert "redispatch" not in probe
    assert "retries 0" in probe


def test_a_request_that_is_not_idempotent_is_not_sent_again():
    text = render(STATE, OPTIONS)
    assert "http-request disable-l7-retry unless { method GET HEAD OPTIONS }" in text


def test_identity_and_listening_socket_are_as_asked():
    assert "bind fd@3" in render(STATE, OPTIONS)
    assert "uid" not in render(STATE, OPTIONS)
    text = render(STATE, dataclasses.replace(OPTIONS, identity=(65534, 65533)), bind="127.0.0.1:80")
    assert "bind 127.0.0.1:80" in text
    assert "  uid 65534\n  gid 65533" in text


@pytest.mark.parametrize("path", ["health", "/x y", "/x'", "/$HOME", "/x\n", "/x\\", '/"', "/#x"])
def test_a_health_path_that_could_break_the_file_is_refused(path):
    with pytest.raises(UsageError, match="health path"):
        render(dataclasses.replace(STATE, options=EdgeOptions(health_path=path)), OPTIONS)


def test_the_host_of_health_checks_and_trusted_proxies_are_kept_for_commands_without_settings():
    options = EdgeOptions(
        health_host="shop.example.org:8443",
        trusted_proxies=("10.0.0.0/8", "2001:db8::7"),
        tester_header="X-Tester",
        tester_cookie="tester",
        sticky=True,
        maintenance_page='<p>\n"ä"</p>',
    )
    text = render(dataclasses.replace(STATE, options=options), OPTIONS)
    assert "uri '/health' ver HTTP/1.1 hdr Host shop.example.org:8443\n" in text
    assert "  acl proxy src 10.0.0.0/8 2001:db8::7\n" in text
    assert parse_state(text, source="x").options == options
    assert "hdr Host localhost\n" in render(STATE, OPTIONS)


@pytest.mark.parametrize(
    "options",
    [
        {"health_host": "a b"},
        {"health_host": "a\nb"},
        {"trusted_proxies": ("10.0.0.0/8\n",)},
        {"trusted_proxies": ("a",)},
    ],
)
def test_options_that_could_break_the_file_are_refused(options):
    with pytest.raises(UsageError, match="the edge can"):
        render(dataclasses.replace(STATE, options=EdgeOptions(**options)), OPTIONS)


@pytest.mark.parametrize(
    "change", [{"name": "a b"}, {"name": ""}, {"release": "a\nb"}, {"host": "localhost"}, {"port": 0}, {"port": 65_536}]
)
def test_a_server_that_could_break_the_file_is_refused(change):
    check_server(R1)
    with pytest.raises(ValueError, match=r".+"):
        check_server(dataclasses.replace(R1, **change))


def test_an_address_is_spelled_as_haproxy_reads_it():
    assert (R1.address, R2.address) == ("127.0.0.1:4001", "[::1]:4002")


@pytest.mark.parametrize(
    "text",
    [
        "global\n",
        "# deploykit edge {}\n",
        "# deploykit edge {\n",
        '# deploykit edge {"port": 1, "token": "x", "health": "/"}\n# deploykit server {"name": "x", "weight": 1}\n',
    ],
)
def test_a_file_that_was_not_written_so_is_named(text):
    with pytest.raises(EdgeError, match=r"^/x/haproxy\.cfg is not") as caught:
        parse_state(text, source="/x/haproxy.cfg")
    assert caught.value.next_step


def test_what_a_release_has_and_had_is_known_and_does_not_grow_for_ever():
    state = STATE
    for number in range(400):
        state = state.with_server(dataclasses.replace(R1, name=f"r1-web-{number}"))
        state = state.without([f"r1-web-{number}"])
    assert len(state.past) == 256
    assert state.releases["r1-web-399"] == "r1"
    again = state.with_server(dataclasses.replace(R1, name="r1-web-399"))
    assert "r1-web-399" not in again.past
    assert again.releases["r1-web-399"] == "r1"
    assert "r1-web-0" not in state.releases


def test_weights_of_strangers_are_left_out():
    state = STATE.with_server(R1, 100).with_weights({"r1-web-0": 5, "r9": 7})
    assert state.weights == {"r1-web-0": 5}
    assert (
        STATE.with_server(R1, 100).with_server(dataclasses.replace(R1, port=9), 100).servers["r1-web-0"].server.port
        == 9
    )


@pytest.mark.parametrize(("limit", "connections"), [(1024, 412), (1_048_576, 10_000), (-1, 10_000), (100, 50)])
def test_connections_fit_into_the_limit_of_open_files(limit, connections):
    assert _maxconn(limit) == connections
