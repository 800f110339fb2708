"""Images are built by the real engine, from trees that git exported."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import tarfile
import tempfile
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deploykit.artifacts.git import read_tree
from deploykit.artifacts.image.build import build_image
from deploykit.artifacts.image.engine import EngineUnreachable, find_docker
from deploykit.artifacts.image.failures import BuildFailed, DiskFull
from deploykit.artifacts.image.image import BUILD_LABEL, Image, Recipe, inspect_image
from deploykit.artifacts.image.secrets import BuildSecrets
from deploykit.model import DeploykitError, Secret, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deploykit.artifacts.image.engine import Docker

WORD = "hunter2-of-the-index"
NO_SECRETS = BuildSecrets()


@pytest.fixture
def build(docker: Docker, base: str, app_name: str, tmp_path: Path) -> Callable[..., Image]:
    def built(repo, *, secrets: BuildSecrets = NO_SECRETS, cached: bool = True, **recipe) -> Image:
        wanted = {"app": app_name, "base": base, "argv": ("shop",)} | recipe
        return build_image(
            read_tree(repo.root),
            Recipe(**wanted),
            kept=tmp_path / "kept",
            docker=docker,
            secrets=secrets,
            cached=cached,
            timeout=300,
        )

    return built


@pytest.fixture
def run_image(docker: Docker, app_name: str) -> Callable[..., str]:
    def ran(image: Image, *words: str) -> str:
        return docker.run(
            "run", "--rm", "--network", "none", "--label", f"test={app_name}", image.id, *words
        ).stdout.strip()

    return ran


def layers(docker: Docker, image: Image) -> list[str]:
    return json.loads(docker.run("image", "inspect", "--format", "{{json .RootFS.Layers}}", image.id).stdout)


def contents(docker: Docker, image: Image) -> list[list[str]]:
    """What is in each layer but the base, in its order: all that a tar says of an entry, to see what differs where
    something does.
    """
    found = []
    with tempfile.TemporaryDirectory() as folder:
        docker.run("save", "--output", f"{folder}/image.tar", image.id)
        with tarfile.open(f"{folder}/image.tar") as saved:
            (manifest,) = json.load(saved.extractfile("manifest.json"))
            for number, layer in enumerate(manifest["Layers"][1:], 1):
                with tarfile.open(fileobj=saved.extractfile(layer)) as tar:
                    for each in tar:
                        data = (
                            hashlib.sha256(tar.extractfile(each).read()).hexdigest() if each.isreg() else each.linkname
                        )
                        owner = f"{each.uid}:{each.gid} {each.uname}:{each.gname}"
                        what = f"{each.type!r} {oct(each.mode)} {each.size} {each.devmajor}:{each.devminor}"
                        headers = " ".join(f"{key}={value}" for key, value in sorted(each.pax_headers.items()))
                        found.append([f"{number} {each.name}", what, owner, str(each.mtime), data, headers])
    return found


def without_folders(found: list[list[str]]) -> list[list[str]]:
    return sorted(each for each in found if not each[1].startswith(repr(tarfile.DIRTYPE)))


def config(docker: Docker, image: Image) -> dict:
    return json.loads(docker.run("image", "inspect", "--format", "{{json .Config}}", image.id).stdout)


def own(repo, text: str) -> None:
    repo.write("Dockerfile", text)
    repo.commit()


def test_a_repository_without_a_dockerfile_becomes_an_image(build, run_image, docker, shop, app_name):
    shop.git(
        "remote", "add", "origin", "https://robin:secret@git.example.org/team/shop.git"
    )  # pragma: allowlist secret
    shop.git("tag", "v1.2.3")
    image = build(shop)
    assert run_image(image) == "1.2.3 7 first"
    assert run_image(image, "id", "-u") == "10001"
    assert (
        run_image(
            image,
            "sh",
            "-c",
            "command -v cc gcc g++ make; ls /opt/venv/bin | grep pip; ls -d /app/.deploykit /tools; true",
        )
        == ""
    )
    assert run_image(image, "sh", "-c", "touch /app/x 2>/dev/null || echo no") == "no"
    assert ".pyc" in run_image(image, "sh", "-c", "ls /app/shop/__pycache__ /opt/site/shop/__pycache__")
    settings = config(docker, image)
    assert (settings["User"], settings["StopSignal"], settings["Cmd"]) == ("10001:10001", "SIGTERM", ["shop"])
    assert "/health" in settings["Healthcheck"]["Test"][-1]
    tree = read_tree(shop.root)
    prefix = "org.opencontainers.image."
    found = {name.removeprefix(prefix): value for name, value in image.labels.items() if name.startswith(prefix)}
    created = found.pop("created")
    assert created.endswith("Z")
    assert found == {
        "revision": tree.commit,
        "version": "1.2.3",
        "title": app_name,
        "source": "https://git.example.org/team/shop.git",
    }
    assert image.created == tree.commit_time
    assert image.warnings == ()
    assert image.digest == image.id


def test_the_same_tree_is_not_built_twice(build, shop, docker):
    first = build(shop)
    again = build(shop)
    assert again.reused
    assert again.id == first.id
    assert inspect_image(docker, first.id).labels[BUILD_LABEL] == again.labels[BUILD_LABEL]


def test_what_is_not_in_git_is_not_in_the_image_and_the_apps_secrets_are_not(build, run_image, shop):
    for name in (".env.production", ".env", "shop/.env"):  # git ignores the first one
        shop.write(name, "TOKEN=x\n")
    shop.write("settings.ini", "a dirty tree\n")
    listed = run_image(build(shop), "ls", "-A", "/app", "/app/shop")
    assert "settings.ini" in listed
    assert "__init__.py" in listed
    assert ".env" not in listed


def test_another_source_keeps_the_layer_of_the_lock(build, run_image, docker, shop):
    first = build(shop)
    shop.write("settings.ini", "second\n")
    shop.commit()
    second = build(shop)
    assert run_image(second).endswith(" 7 second")
    *kept, sources = layers(docker, second)
    assert kept == layers(docker, first)[:-1], "the base, the lock's, and the working directory"
    assert sources != layers(docker, first)[-1]


def test_the_same_tree_makes_the_same_content_without_a_cache(build, docker, shop):
    """The engine writes a layer's entries in one of two orders (`shop-1.dist-info` before or after what is in
    `shop/`), so that the layers' digests may differ where nothing that is in them does.
    """
    first = build(shop)
    fresh = build(shop, cached=False)
    assert not fresh.reused
    assert sorted(contents(docker, fresh)) == sorted(contents(docker, first))


def test_the_umask_of_who_builds_does_not_reach_the_image(build, run_image, docker, shop):
    before = os.umask(0o077)
    try:
        private = build(shop, cached=False)
    finally:
        os.umask(before)
    assert run_image(private).endswith(" 7 first"), "the service's own user can read what it runs"
    assert contents(docker, build(shop, cached=False)) == contents(docker, private)


def test_a_dockerignore_does_not_hide_what_the_kit_adds(build, run_image, shop):
    shop.write(".dockerignore", "*\n!shop\n!pyproject.toml\n!build_support\n")
    shop.commit()
    assert run_image(build(shop), "ls", "-A", "/app").split() == ["build_support", "pyproject.toml", "shop"]


SAYS = "print('{}')\n"


@pytest.fixture
def plain(empty_repo):
    """Sources that are no package."""
    empty_repo.write("bell.py", SAYS.format("one"))
    empty_repo.write("tests/broken.py", "this is no Python\n")
    empty_repo.write("broken.py", "this is none either\n")
    empty_repo.commit()
    return empty_repo


def test_sources_that_are_no_package_are_compiled(build, run_image, docker, plain):
    before = os.umask(0o077)
    try:
        image = build(plain, argv=("python3", "bell.py"))
    finally:
        os.umask(before)
    assert run_image(image) == "one"
    assert run_image(image, "ls", "/app").split() == ["__pycache__", "bell.py", "broken.py", "tests"]
    (compiled,) = run_image(image, "ls", "/app/__pycache__").split()
    assert compiled.startswith("bell.cpython-"), "what is no Python stays as it is"
    assert run_image(image, "ls", "/app/tests") == "broken.py", "tests are not compiled"
    taken = run_image(image, "sh", "-c", "python3 -v -c 'import bell' 2>&1 | grep bell")
    assert "matches /app/bell.py" in taken, "what is compiled is taken, without a look at its source"
    fresh = contents(docker, build(plain, argv=("python3", "bell.py"), cached=False))
    assert without_folders(fresh) == without_folders(contents(docker, image)), "the engine dates folders by itself"


@pytest.mark.parametrize("app", ["id", "made"])
def test_no_name_of_an_app_is_one_of_the_builds_own_files(build, run_image, docker, plain, app: str):
    image = build(plain, argv=("python3", "bell.py"), app=app)
    try:
        assert run_image(image) == "one"
    finally:
        docker.run("image", "rm", "--force", image.id)


def test_a_change_that_keeps_the_size_is_in_the_image(build, run_image, docker, plain):
    """BuildKit is sent what differs from what it was sent before, and finds that out by sizes and times."""
    first = build(plain, argv=("python3", "bell.py"))
    plain.write("bell.py", SAYS.format("two"))
    plain.commit()
    second = build(plain, argv=("python3", "bell.py"))
    assert (run_image(first), run_image(second)) == ("one", "two")
    assert layers(docker, second)[:2] == layers(docker, first)[:2]


@pytest.fixture
def private_index(shop, tmp_path: Path, make_wheel) -> Iterator[tuple[BuildSecrets, str]]:
    """A package index that speaks HTTPS with a certificate of its own and wants a password; `shop` needs a package of
    it.
    """
    key, certificate = tmp_path / "key.pem", tmp_path / "ca.pem"
    words = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-nodes"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-keyout", key, "-out", certificate, *words],
        check=True,
        capture_output=True,
        timeout=30,
    )
    wheels = tmp_path / "index"
    # Never the same, so that no layer of an earlier run stands in for a download.
    digest = make_wheel(wheels, "prices", "2.0", f"PRICE = 9\nTODAY = {uuid.uuid4().hex!r}\n")
    wanted = "Basic " + base64.b64encode(f"robin:{WORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Basic")
                self.end_headers()
                return
            name = Path(self.path).name
            body = (
                (wheels / name).read_bytes()
                if name.endswith(".whl")
                else b'<a href="/files/prices-2.0-py3-none-any.whl">prices-2.0-py3-none-any.whl</a>'
            )
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        shop.write("requirements.lock", f"prices==2.0 --hash=sha256:{digest}\n")
        shop.commit()
        url = f"https://robin:{WORD}@127.0.0.1:{server.server_port}/simple"
        yield BuildSecrets(ca_bundle=certificate, pip=(("index-url", Secret(url)),)), url
        server.shutdown()
        thread.join(5)


def test_secrets_of_the_build_leave_no_trace(build, run_image, docker, shop, private_index, tmp_path: Path):
    secrets, url = private_index
    image = build(shop, secrets=secrets, network="host")
    assert " 9 " in run_image(image)
    certificate = secrets.ca_bundle.read_text().splitlines()[5]
    wanted = [WORD, url, certificate, base64.b64encode(f"robin:{WORD}".encode()).decode(), url.partition("@")[2]]
    history = docker.run("history", "--no-trunc", "--format", "{{json .}}", image.id).stdout
    said = history + docker.run("image", "inspect", image.id).stdout
    assert not [word for word in wanted if word in said]
    archive = tmp_path / "image.tar"
    docker.run("save", "--output", archive, image.id, timeout=120)
    looked_at = 0
    with tarfile.open(archive) as outer:
        for member in outer:
            if not member.isfile():
                continue
            stream = outer.extractfile(member)
            if not member.name.endswith("layer.tar"):
                assert not [word for word in wanted if word.encode() in stream.read()]
                continue
            with tarfile.open(fileobj=stream) as layer:
                for file in layer:
                    assert not file.name.startswith("run/secrets/")
                    if file.isfile():
                        content = layer.extractfile(file).read()
                        looked_at += 1
                        assert not [word for word in wanted if word.encode() in content], file.name
    assert looked_at > 1000


def test_without_the_secret_the_build_fails_and_says_why(build, shop, private_index):
    secrets, _url = private_index
    without = BuildSecrets(
        pip=(*tuple((name, Secret(value.reveal())) for name, value in secrets.pip), ("timeout", Secret("2")))
    )
    with pytest.raises(BuildFailed) as caught:
        build(shop, secrets=without, network="host")
    told = "\n".join(caught.value.details)
    assert "prices==2.0" in told
    assert WORD not in told


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("FROM scratch\nRUNN x\n", UsageError, "Dockerfile is no valid Dockerfile"),
        ("FROM scratch\nCOPY nothing.txt /\n", UsageError, "copies nothing.txt, which is not in the tree"),
        ("FROM 127.0.0.1:1/none:1\n", BuildFailed, "the base image 127.0.0.1:1/none:1 can't be had"),
        (
            "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nRUN echo the cause >&2; exit 3\n",
            BuildFailed,
            "a step of Dockerfile failed",
        ),
        (
            "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nRUN dd if=/dev/zero of=/dev/full count=1\n",
            DiskFull,
            "the disk was full",
        ),
    ],
)
def test_a_build_that_fails_says_why(build, empty_repo, text: str, kind: type, message: str):
    own(empty_repo, text)
    with pytest.raises(kind) as caught:
        build(empty_repo)
    assert message in caught.value.message
    assert caught.value.next_step
    if "the cause" in text:
        assert any("the cause" in line for line in caught.value.details)


def test_the_repositorys_own_dockerfile_is_used_with_its_arguments(build, run_image, empty_repo):
    own(
        empty_repo,
        "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nARG VERSION\nARG COLOUR=red\nENV SAYS=${VERSION}-${COLOUR}\nUSER robin\n",
    )
    empty_repo.git("tag", "v3.0.0")
    image = build(empty_repo, arguments={"COLOUR": "blue"})
    assert "SAYS=3.0.0-blue" in str(image.labels) + str(inspect_env(image))
    assert any("is no number" in warning for warning in image.warnings)
    assert any("no HEALTHCHECK" in warning for warning in image.warnings)
    with pytest.raises(UsageError, match="declares no build argument SIZE"):
        build(empty_repo, arguments={"SIZE": "1"})


def inspect_env(image: Image) -> list[str]:
    return json.loads(find_docker().run("image", "inspect", "--format", "{{json .Config.Env}}", image.id).stdout)


def test_an_image_that_runs_as_root_is_warned_about(build, empty_repo):
    own(empty_repo, "FROM scratch\nCOPY Dockerfile /\n")
    assert any("runs as root" in warning for warning in build(empty_repo).warnings)


def test_no_command_and_no_dockerfile_is_told(build, repo):
    with pytest.raises(UsageError, match="no command is set"):
        build(repo, argv=())


def test_a_build_that_takes_too_long_is_ended(docker, base, app_name, empty_repo, tmp_path: Path):
    own(empty_repo, "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nRUN sleep 60\n")
    with pytest.raises(DeploykitError, match="was not built within 2 s"):
        build_image(
            read_tree(empty_repo.root),
            Recipe(app=app_name, base=base),
            kept=tmp_path,
            docker=docker,
            secrets=NO_SECRETS,
            timeout=2,
        )


def test_an_engine_that_is_not_running_is_told(tmp_path: Path, docker):
    environ = {**docker.environ, "DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    with pytest.raises(EngineUnreachable, match="no Docker Engine answers at unix://"):
        find_docker(program=docker.program, environ=environ)


def test_an_image_that_is_not_there_is_told(docker):
    with pytest.raises(UsageError, match="the engine has no image"):
        inspect_image(docker, "dkimg-nothing:none")


def test_the_release_board_has_an_image(docker, base, app_name, tmp_path: Path):
    """This repository's own docker/Dockerfile, with its lock; packages come from the index that pip here uses."""
    image = build_image(
        read_tree(Path(__file__).parents[4]),
        Recipe(app=app_name, base=base),
        kept=tmp_path,
        docker=docker,
        timeout=110,
    )
    assert image.warnings == ()
    said = docker.run(
        "run",
        "--rm",
        "--network",
        "none",
        "--label",
        f"test={app_name}",
        image.id,
        "python",
        "-m",
        "deploykit.board",
        "--help",
    ).stdout
    assert "Serve the release board" in said
    container = docker.run(
        "run", "--detach", "--network", "none", "--label", f"test={app_name}", image.id
    ).stdout.strip()
    ask = (
        "import http.client, time\nfor _ in range(100):\n    try:\n        c = http.client.HTTPConnection('127.0.0.1',"
        " 8000); c.request('GET', '/health'); print(c.getresponse().status); break\n    except OSError:\n       "
        " time.sleep(0.1)\n"
    )
    # Without a database it is up and not well, and says so.
    assert docker.run("exec", container, "python", "-c", ask).stdout.strip() == "503"
    health = config(docker, image)["Healthcheck"]["Test"][1:]
    assert docker.run("exec", container, *health, check=False).returncode == 1
