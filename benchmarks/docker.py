"""`invoke release` on the target docker against the bare sequence done by hand, on one engine, one registry, one
replica.

By hand: `docker build`, `docker push`, `docker run`, the proxy told of the new container, and the first answer of the
new version through it. Once with the kit's own Dockerfile, which compiles and has a health check, against one of a
single COPY; and once with that simple one in the repository, so that both build the very same. Warm: base image and
dependency layers are there, only a source file changes. Needs a Docker Engine, Debian's `docker-registry` and the
images that the fault tests use (see `.ci/run`).
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Figure, Section, environment, ran, timed
from benchmarks.switch import Commands, stage_figures, state_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["forget", "free_port", "measure", "registry", "settings"]

ROUNDS = 9
"""One release takes a fifth longer than the one before it now and then, on either side: the medians of five are not
steady.
"""
BOUND = 4.0
"""Half of what Kamal takes for it. Rollback and status are reported, without a bound."""
BASE = os.environ.get("DK_BASE_IMAGE", "dk-base:bookworm")
EDGE = os.environ.get("DK_HAPROXY_IMAGE", "deploykit-test-haproxy:bookworm")
_FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "fixtures"
_SECONDS = 60.0
_DOCKERFILE = (
    f"FROM {BASE}\nCOPY . /app/\nWORKDIR /app\nUSER 10001:10001\nENV PYTHONUNBUFFERED=1\n"
    'CMD ["python3", "server.py", "--host", "0.0.0.0", "--port", "8000"]\n'
)


def measure() -> Section:
    sys.path.insert(0, str(_FIXTURES))
    foreign_repo = importlib.import_module("foreign_repo")
    with state_folder() as state, tempfile.TemporaryDirectory(prefix="dk-docker-") as folder, registry() as address:
        figures = []
        for title, own in (("", False), ("the same Dockerfile: ", True)):
            app = f"bench{os.getpid()}{'own' if own else ''}"
            here = Path(folder) / app
            repo = foreign_repo.make_tiny(here / "tiny")
            (repo / "tasks.py").write_text("from deploykit.tasks import collection\n\nnamespace = collection()\n")
            (repo / "pyproject.toml").write_text(settings(app, address, free_port(), own=own))
            if own:
                (repo / "Dockerfile").write_text(_DOCKERFILE)
            kit = Commands(repo, state)
            hand = _ByHand(repo, app, address, here)

            def write(text: str, repo: Path = repo) -> None:
                foreign_repo.behave(repo, VERSION_TEXT=text)
                foreign_repo.commit(repo, text)

            try:
                figures += _measure(kit, hand, write, title)
            finally:
                kit("down")
                hand.close()
                forget(app)
    return Section(
        title=f"Docker: {ROUNDS} releases of a changed source file to containers, a registry on loopback, one replica",
        figures=figures,
        notes=["by hand checks nothing, keeps no record, drains nobody, and loses what was in flight"],
    )


def _measure(kit: Commands, hand: _ByHand, write: Callable[[str], None], title: str) -> list[Figure]:
    write("warm 0")
    kit("release")
    hand.start()
    write("warm 1")
    kit("release")
    hand.release("warm 1")
    kits, told, hands, statuses, backs, hand_backs = [], [], [], [], [], []
    for number in range(ROUNDS):
        write(f"version {number}")
        done, said = kit.told("release")
        kits.append(done)
        told.append(said)
        # The same content again would be found built: each way builds a tree that is new to it.
        write(f"by hand {number}")
        hands.append(hand.release(f"by hand {number}"))
        statuses.append(kit("status"))
        backs.append(kit("rollback"))
        hand_backs.append(hand.rollback())
    ratios = [done.wall / by_hand for done, by_hand in zip(kits, hands, strict=True)]
    figures = [
        timed(f"{title}invoke release to docker, as typed", [done.wall for done in kits]),
        timed(f"{title}by hand: build, push, run, reload, first answer", hands),
        Figure(name=f"{title}kit against by hand", unit="x", samples=ratios, bound=BOUND),
    ]
    if not title:
        figures += [
            timed("invoke rollback to a warm version, as typed", [done.wall for done in backs]),
            timed("invoke status, as typed", [done.wall for done in statuses]),
            timed("by hand: proxy back to the old container, first answer", hand_backs),
            *stage_figures("release", told),
        ]
    return figures


class _ByHand:
    """What somebody types who has no kit: the same base image, engine, registry and proxy image."""

    def __init__(self, repo: Path, app: str, registry: str, folder: Path) -> None:
        from deploykit.artifacts.image.engine import find_docker

        self.docker = find_docker().program
        self._repo, self._registry, self._folder = repo, registry, folder
        self._name = f"{app}-hand"
        self._port = free_port()
        self._count = 0
        self._env = environment(DOCKER_BUILDKIT="1")
        self._previous = self._present = ""

    def _run(self, *words: object, cwd: Path | None = None) -> str:
        return ran([self.docker, *map(str, words)], cwd=cwd or self._folder, env=self._env).output.strip()

    def start(self) -> None:
        (self._folder / "proxy").mkdir()
        self._point_at("127.0.0.1")
        self._run("network", "create", self._name)
        mount = f"{self._folder / 'proxy'}:/proxy:ro"
        words = ("--publish", f"127.0.0.1:{self._port}:8080", "--volume", mount)
        self._run(
            *("run", "--detach", "--name", f"{self._name}-proxy", "--network", self._name, *words, EDGE),
            *("haproxy", "-W", "-db", "-f", "/proxy/haproxy.cfg"),
        )
        (self._folder / "Dockerfile").write_text(_DOCKERFILE)

    def release(self, text: str) -> float:
        """Seconds from the first command to the first answer of the new version."""
        self._count += 1
        began = time.monotonic()
        tag = f"{self._registry}/hand:{self._count}"
        self._run("build", "--quiet", "--file", self._folder / "Dockerfile", "--tag", tag, ".", cwd=self._repo)
        self._run("push", "--quiet", tag)
        container = f"{self._name}-{self._count}"
        self._run("run", "--detach", "--name", container, "--network", self._name, tag)
        self._previous, self._present = self._present, self._address(container)
        _first_answer(f"http://{self._present}:8000/", text)
        self._switch(text)
        self._text_before, self._text = getattr(self, "_text", ""), text
        return time.monotonic() - began

    def rollback(self) -> float:
        began = time.monotonic()
        self._previous, self._present = self._present, self._previous
        self._text_before, self._text = self._text, self._text_before
        self._switch(self._text)
        return time.monotonic() - began

    def _switch(self, text: str) -> None:
        self._point_at(self._present)
        self._run("kill", "--signal", "HUP", f"{self._name}-proxy")
        _first_answer(f"http://127.0.0.1:{self._port}/", text)

    def _address(self, container: str) -> str:
        found = json.loads(self._run("inspect", container))
        return str(found[0]["NetworkSettings"]["Networks"][self._name]["IPAddress"])

    def _point_at(self, address: str) -> None:
        (self._folder / "proxy" / "haproxy.cfg").write_text(
            "defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n"
            f"frontend public\n  bind :8080\n  default_backend app\nbackend app\n  server app {address}:8000\n"
        )

    def close(self) -> None:
        names = [f"{self._name}-proxy", *(f"{self._name}-{number}" for number in range(1, self._count + 1))]
        subprocess.run([self.docker, "rm", "--force", *names], check=False, capture_output=True)
        subprocess.run([self.docker, "network", "rm", self._name], check=False, capture_output=True)
        tags = [f"{self._registry}/hand:{number}" for number in range(1, self._count + 1)]
        subprocess.run([self.docker, "image", "rm", "--force", *tags], check=False, capture_output=True)


def settings(app: str, address: str, port: int, *, own: bool = False) -> str:
    """`own`: the repository brings its Dockerfile, which says how the service is started."""
    command = "" if own else 'command = "python server.py --host 127.0.0.1 --port {port}"\n'
    return f"""[tool.deploykit]
app = "{app}"
[tool.deploykit.service]
{command}health = "/health"
smoke = ["/"]
[tool.deploykit.image]
base = "{BASE}"
repository = "{address}/team/app"
insecure = true
[tool.deploykit.docker]
edge_image = "{EDGE}"
[tool.deploykit.environments.local]
target = "docker"
port = {port}
"""


@contextmanager
def registry() -> Iterator[str]:
    """`127.0.0.1:PORT` of a registry that lasts as long as the block."""
    program = shutil.which("docker-registry")
    if program is None:
        raise SystemExit("this benchmark needs a registry: apt-get install docker-registry")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="dk-registry-") as folder:
        config = Path(folder, "config.yml")
        config.write_text(
            "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
            f"storage: {{filesystem: {{rootdirectory: {folder}/data}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
        )
        process = subprocess.Popen([program, "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_for(port)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_for(port: int) -> None:
    until = time.monotonic() + _SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


def _first_answer(url: str, text: str) -> None:
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if text in answer.read().decode():
                    return
        except OSError:
            pass
        time.sleep(0.01)
    raise RuntimeError(f"{url} did not answer {text!r} within {_SECONDS:g} s")


def forget(app: str) -> None:
    """Remove the images that the kit built."""
    from deploykit.artifacts.image.engine import find_docker

    docker = find_docker().program
    listed = subprocess.run(
        [docker, "image", "ls", "--quiet", "--filter", f"label=io.deploykit.app={app}"],
        check=False,
        capture_output=True,
        text=True,
    )
    if listed.stdout.split():
        subprocess.run(
            [docker, "image", "rm", "--force", *set(listed.stdout.split())], check=False, capture_output=True
        )
