"""The engine's own API on a Unix socket, against a server that answers as an engine does."""

from __future__ import annotations

import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingMixIn, UnixStreamServer
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from deploykit.model import UsageError
from deploykit.process.docker import Engine, EngineError, EngineUnreachable
from deploykit.process.docker.direct import DirectEngine, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    asked: list[str]
    logins: list[str]
    connections = 0
    ping_status = 200
    ping_headers: Mapping[str, str] = MappingProxyType({"OSType": "linux"})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(f"{self.command} {self.path} {body.decode()}".strip())
        self.server.logins.append(self.headers.get("X-Registry-Auth", ""))
        if self.path == "/_ping":
            return self._say(self.server.ping_status, b"OK", {"Api-Version": "1.44", **self.server.ping_headers})
        if self.path.endswith("/version"):
            return self._say(200, b'{"ApiVersion": "1.44", "Os": "linux"}')
        if self.path.endswith("/exec/e1/start"):
            self.wfile.write(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
            self.wfile.write(b"\x01\0\0\0\0\0\0\x03one\x02\0\0\0\0\0\0\x03two")
            self.close_connection = True
            return None
        if "/containers/none/" in self.path:
            return self._say(404, b'{"message": "No such container: none"}')
        if self.path.endswith("/logs?stdout=1&stderr=1&tail=2"):
            return self._say(200, b"\x01\0\0\0\0\0\0\x02a\n\x02\0\0\0\0\0\0\x02b\n")
        if "hang" in self.path:
            threading.Event().wait(2)
        return self._say(200, b'{"Id": "made"}')

    def _say(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = do_PUT = _answer  # noqa: N815 - the names that http.server calls

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server(tmp_path: Path) -> Iterator[_Server]:
    made = _Server(str(tmp_path / "s"), _Handler)
    made.asked, made.logins = [], []
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join(10)


@pytest.fixture
def direct(server: _Server) -> Iterator[DirectEngine]:
    made = DirectEngine(str(server.server_address), 5.0, {"HOME": "/nowhere"})
    yield made
    made.close()


def test_the_version_of_the_api_is_the_engines_and_one_connection_is_enough(direct: DirectEngine, server: _Server):
    direct.inspect_container("a/b c")
    direct.inspect_image("x:1")
    assert server.asked == ["GET /_ping", "GET /v1.44/containers/a/b%20c/json", "GET /v1.44/images/x:1/json"]
    assert server.connections == 1


def test_filters_are_lists_of_strings_as_the_engine_wants_them(direct: DirectEngine, server: _Server):
    direct.containers(all=True, filters={"label": ["a=b"], "ancestor": "sha256:1"})
    assert "all=1" in server.asked[-1]
    assert "%22ancestor%22%3A+%5B%22sha256%3A1%22%5D" in server.asked[-1]


def test_a_container_is_made_with_all_that_was_asked_for(direct: DirectEngine, server: _Server):
    host = direct.create_host_config(
        network_mode="net", init=True, binds=None, mem_limit=64, port_bindings={8000: ("127.0.0.1", None)}
    )
    endpoint = direct.create_endpoint_config(ipv4_address="10.0.0.2", aliases=["db"])
    made = direct.create_container(
        "image",
        ["serve"],
        name="one",
        labels={"a": "b"},
        environment={"A": "1"},
        ports=[8000],
        stop_timeout=3,
        host_config=host,
        networking_config=direct.create_networking_config({"net": endpoint}),
    )
    assert made == {"Id": "made"}
    head, _, body = server.asked[-1].partition(" {")
    assert head == "POST /v1.44/containers/create?name=one"
    said = json.loads("{" + body)
    assert said["HostConfig"] == {
        "NetworkMode": "net",
        "Init": True,
        "Memory": 64,
        "PortBindings": {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
    }
    assert said["NetworkingConfig"] == {
        "EndpointsConfig": {"net": {"Aliases": ["db"], "IPAMConfig": {"IPv4Address": "10.0.0.2"}}}
    }
    assert (said["Cmd"], said["Env"], said["ExposedPorts"]) == (["serve"], ["A=1"], {"8000/tcp": {}})
    assert "Entrypoint" not in said


def test_what_it_does_not_know_is_the_sdks_to_do(direct: DirectEngine):
    assert direct.create_host_config(privileged=True) is NotImplemented


def test_variables_that_dockers_configuration_gives_to_containers_are_the_sdks_to_give(server: _Server, tmp_path: Path):
    (tmp_path / "config.json").write_text('{"proxies": {"default": {"httpProxy": "http://proxy"}}}')
    made = DirectEngine(str(server.server_address), 5.0, {"DOCKER_CONFIG": str(tmp_path)})
    assert made.create_container("image", name="one", labels={}) is NotImplemented
    made.close()


def test_output_comes_in_pieces_and_is_joined(direct: DirectEngine):
    assert direct.logs("one", tail=2) == b"a\nb\n"
    assert direct.exec_start("e1") == b"onetwo"


def test_a_connection_is_handed_over_with_all_that_comes_on_it(direct: DirectEngine):
    taken = direct.exec_start("e1", socket=True)
    said = b""
    while piece := taken.recv(100):
        said += piece
    taken.close()
    assert said.endswith(b"\x03two")


def test_the_engines_words_and_status_are_kept(direct: DirectEngine, server: _Server):
    with pytest.raises(RefusedError, match="No such container: none") as caught:
        direct.start("none")
    assert caught.value.status == 404
    engine = Engine(f"unix://{server.server_address}", environ={"HOME": "/nowhere"})
    with pytest.raises(EngineError, match="No such container: none") as told:
        engine.call("start", "none")
    assert told.value.not_found
    assert engine.find("inspect_container", "none") is None
    engine.close()


def test_an_engine_that_does_not_answer_in_time_is_told_and_its_connection_is_not_used_again(server: _Server):
    engine = Engine(f"unix://{server.server_address}", environ={"HOME": "/nowhere"}, timeout=0.2)
    with pytest.raises(EngineError, match=r"did not answer within 0\.2 s"):
        engine.call("inspect_container", "hang")
    assert engine.call("inspect_container", "one") == {"Id": "made"}
    engine.close()


def test_a_connection_that_the_engine_closed_meanwhile_is_not_used(direct: DirectEngine, server: _Server):
    direct.inspect_image("x")
    (idle,) = direct._idle
    idle.sock.shutdown(socket.SHUT_RDWR)
    assert direct.inspect_image("x") == {"Id": "made"}
    assert server.connections == 2


def test_no_engine_at_the_socket_is_said_so(tmp_path: Path):
    engine = Engine(f"unix://{tmp_path}/none", environ={"HOME": "/nowhere"})
    with pytest.raises(EngineUnreachable, match="no Docker Engine answers at unix://"):
        engine.call("version")
    assert isinstance(engine.problem(), EngineUnreachable)


def test_the_sdk_is_wanted_all_the_same(monkeypatch: pytest.MonkeyPatch, server: _Server):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    problem = Engine(f"unix://{server.server_address}").problem()
    assert isinstance(problem, UsageError)
    assert problem.next_step == "pip install 'deploykit[docker]'"


def test_a_push_says_who_pushes_and_what_came_of_it(direct: DirectEngine, server: _Server):
    assert direct.push("registry:5000/team/shop", "v1", b"bm9ib2R5", silence=5.0) == '{"Id": "made"}'
    assert server.asked[-1] == "POST /v1.44/images/registry:5000/team/shop/push?tag=v1"
    assert server.logins[-1] == "bm9ib2R5"
    direct.inspect_image("x:1")
    assert server.logins[-1] == "", "nothing else is told that"


def test_a_push_that_is_silent_is_given_up_and_the_next_question_is_answered(server: _Server):
    engine = Engine(f"unix://{server.server_address}", environ={"HOME": "/nowhere"})
    try:
        with pytest.raises(EngineError, match=r"told nothing of the push for 0\.1 s") as caught:
            engine.push("hang/shop", "v1", b"", silence=0.1)
        assert not isinstance(caught.value, EngineUnreachable)
        assert engine.push("shop", "v1", b"", silence=5.0) == '{"Id": "made"}'
    finally:
        engine.close()


def test_an_engine_elsewhere_is_pushed_from_by_the_docker_command():
    engine = Engine("tcp://127.0.0.1:1", environ={"HOME": "/nowhere"})
    assert engine.push("shop", "v1", b"", silence=1.0) is None


@pytest.fixture
def engine(server: _Server) -> Iterator[Engine]:
    made = Engine(f"unix://{server.server_address}", environ={"HOME": "/nowhere"})
    yield made
    made.close()


def test_whether_an_engine_can_be_used_is_known_by_a_ping(engine: Engine, server: _Server):
    assert engine.problem() is None
    assert server.asked == ["GET /_ping"]


def test_an_engine_that_does_not_say_it_there_is_asked_for_its_version(engine: Engine, server: _Server):
    server.ping_headers = {}
    assert engine.problem() is None
    assert server.asked[-1] == "GET /v1.44/version"


@pytest.mark.parametrize(
    ("headers", "says"),
    [({"OSType": "windows"}, "runs windows containers"), ({"OSType": "linux", "Api-Version": "1.40"}, r"API 1\.40")],
)
def test_an_engine_that_can_not_be_used_is_told(engine: Engine, server: _Server, headers: dict[str, str], says: str):
    server.ping_headers = headers
    problem = engine.problem()
    assert isinstance(problem, UsageError)
    assert re.search(says, problem.message)


def test_an_engine_that_refuses_even_that_is_told(engine: Engine, server: _Server):
    server.ping_status = 500
    assert isinstance(engine.problem(), EngineError)
