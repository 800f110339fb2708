"""The client of an engine, against a server that answers as an engine does."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn, UnixStreamServer
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from deploykit.model import UsageError
from deploykit.process.docker import (
    Engine,
    EngineConflict,
    EngineError,
    EngineNotFound,
    EngineTimedOut,
    EngineUnreachable,
)
from tests.shared.attackers import listening

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PING = MappingProxyType({"Api-Version": "1.41", "OSType": "linux"})
REFUSALS = {"none": 404, "taken": 409, "odd": 500}
ROOT = Path(__file__).parents[3]


class _Server(ThreadingMixIn):
    daemon_threads = True
    request_queue_size = 128
    ping: Mapping[str, str] = PING
    ping_status = 200
    busy = 0
    """How often a removal is still refused."""

    def __init__(self, *arguments: Any) -> None:
        self.asked: list[str] = []
        self.logins: list[str] = []
        self.connections: list[socket.socket] = []
        self.released = threading.Event()
        super().__init__(*arguments)


class _Unix(_Server, UnixStreamServer):
    @property
    def url(self) -> str:
        return f"unix://{self.server_address}"


class _Tcp(_Server, TCPServer):
    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.connections.append(self.connection)

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(f"{self.command} {self.path} {body.decode()}".strip())
        self.server.logins.append(self.headers.get("X-Registry-Auth", ""))
        if self.path == "/_ping":
            return self._say(self.server.ping_status, b"OK", self.server.ping)
        for word, status in REFUSALS.items():
            if f"/{word}" in self.path:
                return self._say(status, json.dumps({"message": f"no: {word}"}).encode())
        if "/silent" in self.path or self.path.endswith("/wait"):
            self.server.released.wait(20)
        if self.command == "DELETE" and self.server.busy:
            self.server.busy -= 1
            return self._say(409, b'{"message": "removal is already in progress"}')
        if self.path.endswith("/start") and "/exec/" in self.path:
            self.close_connection = True
            head = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
            self.wfile.write(head + b"\x01\0\0\0\0\0\0\x03one\x02\0\0\0\0\0\0\x03two")
            return None
        if "/exec/" in self.path:
            return self._say(200, b'{"ExitCode": 3}')
        if "/push" in self.path:
            return self._stream(b'{"status": "Pushing"}\r\n{"aux": {"Digest": "sha256:1"}}\r\n')
        if "/logs" in self.path:
            return self._stream(b"\x01\0\0\0\0\0\0\x02a\n\x02\0\0\0\0\0\0\x02b\n", ends="follow=0" in self.path)
        if self.path.split("?")[0].endswith("/json") and "label" in self.path:
            return self._say(200, b"[]")
        return self._say(200, b'{"Id": "made", "Config": {"Tty": false}, "StatusCode": 0}')

    def _say(self, code: int, body: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, body: bytes, *, ends: bool = True) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
        if not ends:
            self.server.released.wait(20)
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = do_DELETE = do_PUT = _answer  # noqa: N815 - the names that http.server calls

    def address_string(self) -> str:
        return "engine"

    def log_message(self, *_: object) -> None: ...


def _serve(made: _Unix | _Tcp) -> Iterator[Any]:
    thread = threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    made.released.set()
    made.shutdown()
    made.server_close()
    thread.join(10)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[_Unix]:
    yield from _serve(_Unix(str(tmp_path / "s"), _Handler))


@pytest.fixture
def tcp() -> Iterator[_Tcp]:
    yield from _serve(_Tcp(("127.0.0.1", 0), _Handler))


@pytest.fixture
def engine(server: _Unix) -> Iterator[Engine]:
    made = Engine(server.url, timeout=10.0)
    yield made
    made.close()


# ---- the version of the API


@pytest.mark.parametrize(
    ("newest", "spoken"), [("1.41", "1.41"), ("1.43", "1.43"), ("1.44", "1.44"), ("1.52", "1.44"), ("1.100", "1.44")]
)
def test_what_is_spoken_is_known_to_the_kit_and_to_the_engine(engine: Engine, server: _Unix, newest: str, spoken: str):
    server.ping = {**PING, "Api-Version": newest}
    engine.find_container("one")
    assert server.asked == ["GET /_ping", f"GET /v{spoken}/containers/one/json"]


def test_whether_an_engine_can_be_used_is_known_by_pings_alone(engine: Engine, server: _Unix):
    assert engine.problem() is None
    assert set(server.asked) == {"GET /_ping"}


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({**PING, "OSType": "windows"}, "runs windows containers"),
        ({**PING, "Api-Version": "1.40"}, "is too old: API 1.40, 1.41 is needed"),
        ({"Server": "something else"}, "is no Docker Engine"),
    ],
)
def test_an_engine_that_can_not_be_used_is_asked_nothing_else(
    engine: Engine, server: _Unix, headers: dict[str, str], says: str
):
    server.ping = headers
    problem = engine.problem()
    assert problem is not None
    assert says in problem.message
    with pytest.raises(type(problem)):
        engine.containers({})
    assert set(server.asked) == {"GET /_ping"}


def test_an_engine_that_refuses_even_that_is_told(engine: Engine, server: _Unix):
    server.ping_status = 500
    problem = engine.problem()
    assert isinstance(problem, EngineError)
    assert not isinstance(problem, EngineUnreachable)


# ---- where it is


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write Docker's configuration of this user, with contexts by name."""
    folder = tmp_path / "config"
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))

    def write(contexts: Mapping[str, str] = MappingProxyType({}), **values: Any) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(values))
        for name, host in contexts.items():
            meta = folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
            meta.mkdir(parents=True)
            endpoint = {"Host": host, "SkipTLSVerify": False}
            (meta / "meta.json").write_text(
                json.dumps({"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}})
            )

    return write


def test_an_engine_is_found_by_dockers_current_context(config, server: _Unix):
    config({"mine": server.url}, currentContext="mine")
    engine = Engine(environ={})
    assert engine.host == server.url
    assert engine.problem() is None
    engine.close()


def test_a_variable_goes_before_the_current_context_and_an_address_before_both(config):
    config({"mine": "unix:///mine", "other": "unix:///other"}, currentContext="mine")
    assert Engine(environ={"DOCKER_CONTEXT": "other"}).host == "unix:///other"
    assert Engine(environ={"DOCKER_CONTEXT": "other", "DOCKER_HOST": "unix:///it"}).host == "unix:///it"
    assert Engine("unix:///named", environ={"DOCKER_HOST": "unix:///it"}).host == "unix:///named"


@pytest.mark.parametrize("current", ["default", "gone"])
def test_without_a_context_it_is_the_engine_of_this_machine(config, current: str):
    config(currentContext=current)
    assert Engine(environ={}).host == "unix:///var/run/docker.sock"


def test_nobody_at_the_socket_is_said_so(tmp_path: Path):
    engine = Engine(f"unix://{tmp_path}/none")
    with pytest.raises(EngineUnreachable, match="no Docker Engine answers at unix://"):
        engine.find_container("one")
    assert isinstance(engine.problem(), EngineUnreachable)


@pytest.mark.parametrize("wire", ["server", "tcp"])
def test_what_the_environment_says_about_http_is_not_meant_for_an_engine(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, wire: str
):
    there = request.getfixturevalue(wire)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, "/there/is/none")
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    engine = Engine(there.url, environ={})
    assert engine.find_container("one") is not None
    engine.close()


@pytest.mark.parametrize("installed", ["nothing", "a folder of that name"])
def test_a_missing_sdk_is_named_with_the_line_that_installs_it(tmp_path: Path, installed: str):
    """In a checkout on the import path, a repository's own folder `docker` looks like a package."""
    (tmp_path / "deploykit").symlink_to(ROOT / "deploykit")
    if installed != "nothing":
        (tmp_path / "docker").mkdir()
        (tmp_path / "docker" / "Dockerfile").touch()
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from deploykit.process.docker import Engine\nproblem ="
        " Engine(environ={}).problem(); print(type(problem).__name__, problem.message, problem.next_step, sep='|')"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    said = "UsageError|Docker's Python SDK is not installed|pip install 'deploykit[docker]'"
    assert (done.stdout.strip(), done.stderr) == (said, "")


# ---- what is asked


def test_a_container_is_made_with_all_that_was_asked_for(engine: Engine, server: _Unix):
    made = engine.create_container(
        "image",
        ["serve"],
        name="one",
        labels={"a": "b"},
        environment={"A": "1"},
        stop_timeout=3,
        network="net",
        address="10.0.0.2",
        aliases=["db"],
        host={"init": True, "binds": None, "mem_limit": 64, "port_bindings": {8000: ("127.0.0.1", None)}},
    )
    assert made == "made"
    head, _, body = server.asked[-1].partition(" {")
    assert head == "POST /v1.41/containers/create?name=one"
    said = json.loads("{" + body)
    assert said["HostConfig"] == {
        "NetworkMode": "net",
        "Init": True,
        "Memory": 64,
        "PortBindings": {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
    }
    (endpoint,) = said["NetworkingConfig"]["EndpointsConfig"].values()
    assert (endpoint["Aliases"], endpoint["IPAMConfig"]) == (["db"], {"IPv4Address": "10.0.0.2"})
    assert (said["Cmd"], said["Env"], said["ExposedPorts"]) == (["serve"], ["A=1"], {"8000/tcp": {}})
    assert "Entrypoint" not in said


def test_dockers_configuration_gives_its_proxies_to_containers(config, engine: Engine, server: _Unix):
    config(proxies={"default": {"httpProxy": "http://proxy:3128"}})
    engine.create_container("image", name="one", labels={})
    _, _, body = server.asked[-1].partition(" {")
    assert "HTTP_PROXY=http://proxy:3128" in json.loads("{" + body)["Env"]


def test_what_is_not_there_is_none_and_every_other_refusal_an_error(engine: Engine):
    for find in (engine.find_container, engine.find_image, engine.find_network, engine.find_volume):
        assert find("none") is None
        with pytest.raises(EngineError, match="no: odd") as caught:
            find("odd")
        assert type(caught.value) is EngineError
    assert engine.logs("none") == b""
    assert not engine.set_restart_policy("none", "no")
    assert engine.set_restart_policy("one", "no")
    engine.remove_container("none")
    engine.remove_image("none")
    engine.remove_volume("none")
    engine.remove_network("none")
    with pytest.raises(EngineNotFound, match="no: none"):
        engine.start("none")
    with pytest.raises(EngineConflict, match="no: taken"):
        engine.start("taken")


def test_a_container_that_somebody_else_is_removing_is_gone_when_it_was_removed(engine: Engine, server: _Unix):
    server.busy = 2
    engine.remove_container("one")
    assert len([line for line in server.asked if line.startswith("DELETE")]) == 3


def test_an_answer_has_its_time_and_the_next_question_is_answered(server: _Unix):
    engine = Engine(server.url, timeout=0.2)
    with pytest.raises(EngineTimedOut, match=r"did not answer within 0\.2 s"):
        engine.find_container("silent")
    assert engine.find_container("one") is not None
    engine.close()


def test_the_end_of_a_container_is_waited_for_without_a_limit_unless_one_is_given(server: _Unix):
    engine = Engine(server.url, timeout=0.1)
    with pytest.raises(EngineTimedOut, match=r"within 0\.3 s"):
        engine.wait("one", timeout=0.3)
    threading.Timer(0.5, server.released.set).start()
    engine.wait("one")
    assert server.released.is_set()
    engine.close()


def test_threads_share_a_client(engine: Engine):
    problems: list[str] = []

    def ask() -> None:
        for number in range(20):
            try:
                assert engine.find_container("none" if number % 2 else "one") == (
                    None if number % 2 else {"Id": "made", "Config": {"Tty": False}, "StatusCode": 0}
                )
            except Exception as error:
                problems.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []


def test_a_connection_that_the_engine_closed_meanwhile_is_not_used(engine: Engine, server: _Unix):
    engine.find_image("x")
    *_, kept = server.connections
    before = len(server.connections)
    engine.find_image("x")
    assert len(server.connections) == before, "one connection is enough"
    kept.shutdown(socket.SHUT_RDWR)
    engine.find_image("x")
    assert len(server.connections) == before + 1


# ---- what programs print


def test_a_log_is_joined_from_its_pieces(engine: Engine, server: _Unix):
    assert engine.logs("one", tail=2) == b"a\nb\n"
    assert "tail=2" in next(line for line in server.asked if "/logs" in line)


def test_a_log_that_is_followed_is_ended_by_another_thread(engine: Engine):
    log = engine.follow("one")
    pieces = iter(log)
    assert [next(pieces), next(pieces)] == [b"a\n", b"b\n"]
    threading.Timer(0.1, log.end).start()
    assert list(pieces) == []
    assert engine.find_container("one") is not None


def test_a_log_of_nothing_is_an_error(engine: Engine):
    with pytest.raises(EngineNotFound, match="no: none"):
        engine.follow("none")


def test_what_a_command_prints_at_once_is_not_lost(engine: Engine):
    """It may come with the headers of the answer, in one piece."""
    assert engine.execute("one", ["it"]) == (3, b"onetwo")


def test_a_conversation_says_where_each_piece_was_printed(engine: Engine):
    stream = engine.open_exec("one", ["it"], timeout=5.0)
    assert [stream.frame(), stream.frame(), stream.frame()] == [(1, b"one"), (2, b"two"), None]
    stream.close()


# ---- a push


def test_a_push_says_who_pushes_and_what_came_of_it(engine: Engine, server: _Unix):
    told = engine.push("registry:5000/team/shop", "v1", {"username": "robin", "password": "p?>:ü"}, silence=5.0)
    assert told == [{"status": "Pushing"}, {"aux": {"Digest": "sha256:1"}}]
    assert server.asked[-1].startswith("POST /v1.41/images/registry:5000/team/shop/push?tag=v1")
    told = json.loads(base64.urlsafe_b64decode(server.logins[-1]))
    assert told == {"username": "robin", "password": "p?>:ü"}  # pragma: allowlist secret
    engine.find_image("x:1")
    assert server.logins[-1] == "", "nothing else is told that"


def test_a_push_by_nobody_does_not_take_what_another_login_left(config, engine: Engine, server: _Unix):
    config(auths={"registry:5000": {"auth": base64.b64encode(b"robin:word").decode()}})
    engine.push("registry:5000/shop", "v1", {}, silence=5.0)
    assert base64.urlsafe_b64decode(server.logins[-1]) == b"{}"


def test_a_push_that_is_silent_is_given_up_and_the_next_one_is_made(engine: Engine):
    with pytest.raises(EngineTimedOut, match=r"within 0\.2 s"):
        engine.push("silent/shop", "v1", {}, silence=0.2)
    assert engine.push("shop", "v1", {}, silence=5.0)


def test_an_unusable_engine_is_no_traceback_for_a_push(engine: Engine, server: _Unix):
    server.ping = {**PING, "OSType": "windows"}
    with pytest.raises(UsageError):
        engine.push("shop", "v1", {}, silence=5.0)


def test_an_address_that_is_none_is_a_sentence():
    for address in ("tcp://[", "ssh://["):
        problem = Engine(address).problem()
        assert problem is not None
        assert problem.message.startswith(f"{address} is no address of a Docker Engine")


def test_a_registrys_login_does_not_follow_an_engine_to_another_host():
    with listening() as server, listening("127.0.0.2") as attacker:
        server.answer = lambda heard: (
            (200, dict(PING), b"OK") if heard.path == "/_ping" else (307, {"Location": f"{attacker.url}/push"}, b"")
        )
        made = Engine(f"tcp://127.0.0.1:{server.port}", timeout=20)
        with pytest.raises(EngineError):
            made.push("registry.example.org/shop", "1", {"identitytoken": "wren"}, silence=20)
        made.close()
        assert "X-Registry-Auth" in server.heard[-1].headers
        assert attacker.heard == []
