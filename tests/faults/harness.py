"""What the fault tests share: keep-alive clients that never retry, a driver that kills commands, and a small
service.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import foreign_repo
from sweeping import sweep

from deploykit.process.docker import Engine
from deploykit.settings.paths import StatePaths
from deploykit.targets.docker.lock import EngineLock
from deploykit.targets.docker.names import Names
from deploykit.targets.environment_lock import EnvironmentLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

HERE = Path(__file__).parent
KEPT_WARM = 3_600
PAGE = "We are updating this site."
"""What the kit's maintenance page says."""
BASE_IMAGE = os.environ.get("DK_BASE_IMAGE", "dk-base:bookworm")
EDGE_IMAGE = os.environ.get("DK_HAPROXY_IMAGE", "deploykit-test-haproxy:bookworm")


@dataclass
class Load:
    """Keep-alive clients in threads, each with one connection, that never retry. Bounded in time by `limit` seconds.

    `post` sends so many bytes by POST instead of GET; `pause` seconds between two requests of one client. With
    `maintenance` an answer 503 with the kit's maintenance page is not lost: it is counted as the answer PAGE.
    """

    url: str
    clients: int = 2
    path: str = "/"
    pause: float = 0.015
    limit: float = 600.0
    post: int = 0
    maintenance: bool = False
    sent: int = 0
    lost: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._until = time.monotonic() + self.limit
        self._threads = [threading.Thread(target=self._client, daemon=True) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(40)

    def _client(self) -> None:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        method, body = ("POST", b"x" * self.post) if self.post else ("GET", None)
        while not self._stop.is_set() and time.monotonic() < self._until:
            began = time.monotonic()
            try:
                # Where the server said that it closes after its answer, http.client connects anew, as any client does.
                connection.request(method, self.path, body)
                answer = connection.getresponse()
                text = answer.read()
                problem = "" if answer.status == 200 else f"status {answer.status}: {text[:80]!r}"
                word = text.decode(errors="replace")[:60]
                if self.maintenance and answer.status == 503 and PAGE.encode() in text:
                    problem, word = "", PAGE
            except (OSError, http.client.HTTPException) as error:
                problem, word = f"{type(error).__name__}: {error}", ""
                connection.close()
            took = time.monotonic() - began
            with self._lock:
                self.sent += 1
                self.longest = max(self.longest, took)
                if problem:
                    self.lost.append(problem)
                else:
                    self.answers[word] += 1
            if self.pause or problem:
                self._stop.wait(self.pause or 0.01)
        connection.close()

    def next_answers(self, count: int = 10, *, within: float = 20.0) -> None:
        """Wait until so many more requests were answered: what happened meanwhile has then shown in the load."""
        wanted = self.sent + count
        until = time.monotonic() + within
        while self.sent < wanted:
            assert time.monotonic() < until, "the load stands still"
            time.sleep(0.005)

    def assert_nothing_lost(self) -> None:
        assert self.sent > 0
        assert not self.lost, f"{len(self.lost)} of {self.sent} requests were lost: {Counter(self.lost).most_common(5)}"


@dataclass(frozen=True)
class Ran:
    """A command that ended. `trace` is what its process wrote into the ledger, in order, and where it was struck."""

    returncode: int
    output: str
    trace: Sequence[Mapping[str, Any]]
    listened: float
    """Seconds for which it listened to signals, where one was to come after such a time."""

    @property
    def steps(self) -> list[tuple[str, float]]:
        """(name, seconds) of each step of its journal that has a result."""
        return [(row["step"], row["seconds"]) for row in self.trace if "step" in row]

    @property
    def calls(self) -> list[str]:
        """The ledger's writing methods that it called."""
        return [row["call"] for row in self.trace if "call" in row]

    @property
    def struck(self) -> tuple[str, str] | None:
        """(step or method, point) of the kill."""
        return next(((row["struck"], row["point"]) for row in self.trace if "struck" in row), None)

    @property
    def text(self) -> str:
        """The output as one line, however it was wrapped."""
        return " ".join(self.output.split())

    @property
    def json(self) -> Any:
        return self.jsons[0]

    @property
    def jsons(self) -> list[Any]:
        """The JSON objects among the output's lines."""
        found, rest = [], "\n" + self.output
        while (start := rest.find("\n{\n")) >= 0:
            value, end = json.JSONDecoder().raw_decode(rest[start + 1 :])
            found.append(value)
            rest = rest[start + 1 + end :]
        return found


class Driver:
    """Runs the kit's commands in forks of a warm process (see driver.py for `kill`, `pauses` and `signal`)."""

    def __init__(self, state: Path) -> None:
        self.state = state
        environment = {
            **{name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("DEPLOYKIT_")},
            "DEPLOYKIT_STATE_DIR": str(state),
            "NO_COLOR": "1",
            "TERM": "xterm",  # with CI unset: a terminal gets the spinner that people see, also where CI runs this
        }
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "driver.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def several(self, repo: Path, commands: Sequence[Sequence[str]], **options: Any) -> Ran:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {
            "commands": [list(argv) for argv in commands],
            "cwd": str(repo),
            "kill": None,
            "pauses": [],
            "signal": None,
            "terminal": False,
            "unread": False,
            "env": {},
            **options,
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return Ran(answer["returncode"], answer["output"], answer["trace"], answer["listened"])

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(150)
        finally:
            self._process.stdout.close()


class Machine:
    """One machine for all tests: a state folder whose parts and builds they share, and drivers for their commands.

    Threads may use it; a driver runs one command at a time, so there are as many as commands at once. They are made
    when they are first needed: each takes more than a second of processor time.
    """

    def __init__(self, state: Path) -> None:
        self.state = state
        self._made: list[Driver] = []
        self._free: list[Driver] = []
        self._lock = threading.Lock()
        self._worlds = 0

    def run(self, folder: Path, *commands: Sequence[str], **options: Any) -> Ran:
        """Commands one after the other in one process (see driver.py).

        Options: kill, pauses, signal, terminal, unread, env.
        """
        with self._lock:
            driver = self._free.pop() if self._free else None
        if driver is None:
            driver = Driver(self.state)
            self._made.append(driver)
        ran = driver.several(folder, commands, **options)
        with self._lock:
            self._free.append(driver)
        return ran

    @contextlib.contextmanager
    def service(self, folder: Path, *, app: str = "", target: str = "process") -> Iterator[ReleasedService]:
        """A service with an app of its own in that folder, taken down afterwards."""
        with self._lock:
            self._worlds += 1
            app = app or (f"tiny-{self._worlds}" if target == "process" else f"tiny{os.getpid()}-{self._worlds}")
        made = ReleasedService(
            repo=foreign_repo.make_tiny(folder), machine=self, app=app, port=free_port(), target=target
        )
        made.settings()
        try:
            yield made
        finally:
            made.afresh()
            if target == "docker":
                sweep(app)

    def close(self) -> None:
        for driver in self._made:
            driver.close()
        shutil.rmtree(self.state, ignore_errors=True)


@dataclass(frozen=True, kw_only=True)
class ReleasedService:
    """One app in one environment of one machine: a repository with the smallest service, and how its commands are
    run.
    """

    repo: Path
    machine: Machine
    app: str
    port: int
    target: str = "process"
    commits: dict[tuple[str, ...], str] = field(default_factory=dict)

    def __call__(self, *argv: str, **options: Any) -> Ran:
        return self.machine.run(self.repo, [*argv, "--env", "local"], **options)

    def ok(self, *argv: str, **options: Any) -> Ran:
        ran = self(*argv, **options)
        assert ran.returncode == 0, f"{argv}: exit {ran.returncode}\n{ran.output}"
        return ran

    def behave(self, text: str, **variables: object) -> None:
        """What the next release answers on `/`, and how else it behaves (see tests/fixtures/tiny/behaviour.py)."""
        foreign_repo.behave(self.repo, VERSION_TEXT=text, **variables)
        self._commit()

    def _commit(self) -> None:
        """What goes beyond this machine has to be in a commit; the same content is the same commit, and built once."""
        if self.target == "process":
            return
        content = tuple((self.repo / name).read_text() for name in ("behaviour.py", "pyproject.toml"))
        if (known := self.commits.get(content)) is not None:
            foreign_repo.git(self.repo, "checkout", "--quiet", "--force", known)
        else:
            self.commits[content] = foreign_repo.commit(self.repo, "Another behaviour")

    def settings(self, **service: object) -> None:
        """The service's settings; `thresholds`, `watch`, `strategy` and `rollout` are the environment's, `repository`
        is where images are pushed, `worker` the command of another process, `edge` are settings of the edge.
        """
        repository, worker = service.pop("repository", ""), service.pop("worker", "")
        watch, strategy = service.pop("watch", []), service.pop("strategy", "blue-green")
        tables = {
            "environments.local.thresholds": service.pop("thresholds", {}),
            "environments.local.rollout": service.pop("rollout", {}),
            "edge": service.pop("edge", {}),
        }
        words = {
            "command": "python server.py --host 127.0.0.1 --port {port}",
            "health": "/health",
            "smoke": ["/"],
            **service,
        }
        lines = ["[tool.deploykit]", f'app = "{self.app}"', "[tool.deploykit.service]"]
        lines += [f"{name} = {toml(value)}" for name, value in words.items()]
        lines += ["[tool.deploykit.image]", f'base = "{BASE_IMAGE}"']
        lines += [f'repository = "{repository}"', "insecure = true"] if repository else []
        lines += ["[tool.deploykit.docker]", f'edge_image = "{EDGE_IMAGE}"']
        lines += ["[tool.deploykit.environments.local]", f'target = "{self.target}"', f"port = {self.port}"]
        lines += ['preflight = ["settings", "variables", "target"]', f"watch = {toml(watch)}"]
        lines += [f'strategy = "{strategy}"']
        for table, values in tables.items():
            if isinstance(values, dict) and values:
                lines += [f"[tool.deploykit.{table}]", *(f"{name} = {toml(value)}" for name, value in values.items())]
        if worker:
            lines += ["[tool.deploykit.processes.worker]", f"command = {json.dumps(worker)}", 'settle = "300ms"']
        (self.repo / "pyproject.toml").write_text("\n".join(lines) + "\n")
        self._commit()

    def release(self, text: str, *, env: Mapping[str, str] | None = None, **variables: object) -> Ran:
        self.behave(text, **variables)
        return self.ok("release", env=dict(env or {}))

    @property
    def paths(self) -> StatePaths:
        return StatePaths(self.machine.state, self.app, "local")

    def status(self) -> Any:
        """What `status` says; it ends with 1 exactly where it names a problem, such as an instance that restarted."""
        ran = self("status", "--json")
        assert ran.returncode == int(bool(ran.json["problems"])), f"exit {ran.returncode}\n{ran.output}"
        return ran.json

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def instances(self) -> list[Any]:
        return list(self.status()["instances"])

    def problems(self) -> list[str]:
        """What is wrong after a command has ended: the record, the locks, what runs."""
        env = ("--env", "local")
        looked = self.machine.run(self.repo, ("status", "--json", *env), ("history", "--check", "--json", *env))
        status, history = looked.jsons
        found = [f"the record: {problem}" for problem in history["problems"]]
        found += [f"the lock: {status['lock']}"] if status["lock"] else []
        found += [f"unfinished: {status['unfinished']}"] if status["unfinished"] else []
        found += [f"on the target: {holder}"] if (holder := self.lock_on_target()) else []
        found += [f"{item['name']} is left over" for item in status["instances"] if item["role"] == "left over"]
        serving = {item["release"] for item in status["instances"] if item["weight"]}
        found += [f"{', '.join(sorted(serving))} share the traffic"] if len(serving) > 1 else []
        return found

    def lock_on_target(self) -> str:
        if self.target == "docker":
            holder = EngineLock(docker_engine(), Names(self.app, "local")).holder()
        else:
            holder = EnvironmentLock(self.paths.root).holder()
        return "" if holder is None else f"{holder.owner}: {holder.reason}"

    def serves(self, url: str) -> str:
        """What users get now: the body of `/`, or what went wrong."""
        try:
            return get(url)
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__

    def down(self) -> None:
        self("down", "--app", self.app)

    def afresh(self) -> None:
        """Nothing was ever released; what was built is kept."""
        self.down()
        if self.target == "docker":
            sweep(self.app, images=False)
        shutil.rmtree(self.paths.root.parent, ignore_errors=True)


def toml(value: object) -> str:
    """In one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {toml(each)}" for name, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def free_port() -> int:
    """For the edge: two services must not find the same one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@functools.cache
def docker_engine() -> Engine:
    return Engine()


def get(url: str, path: str = "/", *, timeout: float = 10.0) -> str:
    """The body of an answer 200 on a connection of its own."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        if answer.status != 200:
            raise http.client.HTTPException(f"status {answer.status}")
        return text
    finally:
        connection.close()


@contextlib.contextmanager
def held_request(url: str) -> Iterator[Callable[[], str]]:
    """A request that an instance waits for the rest of; the callable sends that and returns the answer's body."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=30) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\nConnection: close\r\n\r\n1")

        def finish() -> str:
            connection.sendall(b"2")
            answer = b""
            while piece := connection.recv(65_536):
                answer += piece
            return answer.rpartition(b"\r\n\r\n")[2].decode()

        yield finish


def eventually(what: Callable[[], object], *, within: float = 20.0, why: str = "") -> None:
    """Ask until it is true."""
    until = time.monotonic() + within
    while not what():
        assert time.monotonic() < until, why or "it did not come true in time"
        time.sleep(0.02)


def new_state() -> Path:
    """A state folder: short (Unix sockets have paths of at most 107 bytes), in memory where programs may run there.

    These tests kill processes, not machines, so nothing is lost by not waiting for a disk.
    """
    shared = Path("/dev/shm")
    usable = shared.is_dir() and os.access(shared, os.W_OK) and not os.statvfs(shared).f_flag & os.ST_NOEXEC
    folder = Path(tempfile.mkdtemp(prefix="dk-", dir=shared if usable else "/tmp"))
    folder.chmod(0o711)
    return folder
