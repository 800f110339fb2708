"""A Docker Engine, a base image, and a registry: all real. Without an engine these tests fail, and say so."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import shutil
import socket
import struct
import subprocess
import tarfile
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deploykit.artifacts.image.engine import Docker, find_docker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BASE = "dk-base:bookworm"
USER, WORD = "robin", "correct-horse"
HTPASSWD = "$2b$04$VQbGZPlELSH8XbEMn3idO.Fhbz7EttWH.1TocHJ7.ebDOtUXDdOsq"  # pragma: allowlist secret
"""The bcrypt hash of WORD, with the fewest rounds that there are."""


@pytest.fixture(scope="session")
def docker() -> Docker:
    """The engine. There is no test of images without one: start it (`sudo systemctl start docker`)."""
    return find_docker()


@pytest.fixture(scope="session")
def base(docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base image with Python: the one that is there, else one of Debian's packages."""
    if docker.run("image", "inspect", BASE, check=False).returncode != 0:
        archive = tmp_path_factory.mktemp("base") / "base.tar"
        packages = "--include=python3,python3-venv,ca-certificates"
        subprocess.run(["mmdebstrap", "--variant=minbase", packages, "bookworm", archive], check=True, timeout=600)
        docker.run("import", archive, BASE, timeout=300)
    return BASE


@pytest.fixture
def app_name(docker: Docker) -> Iterator[str]:
    """A name for this test's images and containers, which are gone afterwards."""
    name = f"dkimg-{uuid.uuid4().hex[:10]}"
    yield name
    for container in docker.run("ps", "--all", "--quiet", "--filter", f"label=test={name}").stdout.split():
        docker.run("rm", "--force", "--volumes", container, check=False)
    ids = docker.run(
        "image", "ls", "--quiet", "--no-trunc", "--filter", f"label=io.deploykit.app={name}"
    ).stdout.split()
    ids += docker.run("image", "ls", "--quiet", "--no-trunc", f"*/{name}").stdout.split()
    for image in sorted(set(ids)):
        docker.run("image", "rm", "--force", image, check=False)


@pytest.fixture
def small_image(docker: Docker, app_name: str, tmp_path: Path) -> Callable[[int], str]:
    """Make an image with so many random bytes in it; returns its id."""

    def make(size: int = 10_000) -> str:
        archive = tmp_path / f"{uuid.uuid4().hex}.tar"
        with tarfile.open(archive, "w") as tar:
            entry = tarfile.TarInfo("file")
            entry.size = size
            tar.addfile(entry, io.BytesIO(os.urandom(size)))
        return docker.run("import", "--change", f"LABEL io.deploykit.app={app_name}", archive).stdout.strip()

    return make


@dataclass
class Running:
    """A registry of Debian's `docker-registry` on loopback; `folder` is where it keeps what is pushed."""

    address: str
    folder: Path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def running_registry(folder: Path, *prefix: str) -> Iterator[tuple[Running, int]]:
    """A registry and its process id; `prefix` are words put before its command."""
    program = shutil.which("docker-registry")
    assert program is not None, "these tests need a registry: apt-get install docker-registry"
    (folder / "htpasswd").write_text(f"{USER}:{HTPASSWD}\n")
    (folder / "data").mkdir()
    port = free_port()
    (folder / "config.yml").write_text(
        "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/data}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
        f"auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*prefix, program, "serve", folder / "config.yml"], stdout=log, stderr=log)
    try:
        wait_for_port(port)
        yield Running(address=f"127.0.0.1:{port}", folder=folder / "data"), process.pid
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_registry(tmp_path_factory.mktemp("registry")) as (running, _):
        yield running


@pytest.fixture
def small_disk_registry(tmp_path: Path) -> Iterator[tuple[Running, Callable[[], None]]]:
    """A registry on a disk of 4 MB that only it sees, and what fills that disk to the last byte."""
    folder = tmp_path / "small"
    folder.mkdir()
    script = f'mount -t tmpfs -o size=4m tmpfs "{folder}/data" && exec "$@"'
    with running_registry(folder, "unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh") as (running, pid):

        def fill() -> None:
            with (
                contextlib.suppress(OSError),
                Path(f"/proc/{pid}/root{running.folder}/filler").open("wb", buffering=0) as file,
            ):
                while True:
                    file.write(bytes(4096))

        yield running, fill


def wait_for_port(port: int, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < end, f"nothing listens on port {port}"
            time.sleep(0.05)
        else:
            return


@pytest.fixture
def login(docker: Docker, tmp_path: Path) -> Callable[..., Docker]:
    """The engine with a config.json that knows these registries."""

    def logged_in(*registries: str, word: str = WORD, **config: object) -> Docker:
        auth = base64.b64encode(f"{USER}:{word}".encode()).decode()
        folder = tmp_path / f"docker-{uuid.uuid4().hex[:6]}"
        folder.mkdir()
        (folder / "config.json").write_text(
            json.dumps({"auths": {name: {"auth": auth} for name in registries}, **config})
        )
        return docker.with_environment({"DOCKER_CONFIG": str(folder)})

    return logged_in


@dataclass
class Between:
    """A proxy in front of a registry: `fault(method, path, headers)` says for each request what to do with it.

    None lets it pass, "cut" ends the connection at once, a number after so many bytes of the request's body, and
    bytes are the answer. One connection carries one request, so that nothing passes unseen.
    """

    upstream: str
    address: str = ""
    fault: Callable[[str, str, dict[str, str]], str | int | bytes | None] = lambda *_: None
    changed: Callable[[list[str]], list[str]] = lambda lines: lines
    """Changes the lines of a request's head on their way to the registry."""
    seen: list[tuple[str, str]] = field(default_factory=list)

    def serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            client.settimeout(60)
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(65536)
                if not data or (not head and data[0] == 0x16):  # the start of TLS, which this registry does not speak
                    return
                head += data
            head, _, rest = head.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            method, path, _ = first.split(" ", 2)
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            self.seen.append((method, path))
            verdict = self.fault(method, path, headers)
            if isinstance(verdict, bytes):
                client.sendall(verdict)
                return
            if verdict == "cut":
                self._cut(client)
                return
            kept = [line for line in lines if not line.lower().startswith("connection:")]
            host, port = self.upstream.split(":")
            with socket.create_connection((host, int(port)), timeout=60) as server:
                server.sendall(
                    "\r\n".join([first, *self.changed(kept), "Connection: close", "", ""]).encode("latin-1") + rest
                )
                up = threading.Thread(target=self._pump, args=(client, server, verdict), daemon=True)
                up.start()
                while data := server.recv(65536):
                    client.sendall(data)
                # Close both ways, so that the thread that reads the client ends, too.
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
                up.join(10)

    def _pump(self, client: socket.socket, server: socket.socket, limit: object) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
                passed += len(data)
                if isinstance(limit, int) and passed >= limit:
                    self._cut(client)
                    server.shutdown(socket.SHUT_RDWR)
                    return

    @staticmethod
    def _cut(client: socket.socket) -> None:
        """End the connection with a reset, as a router that forgot it does."""
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()


@pytest.fixture
def between(registry: Running) -> Iterator[Between]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = Between(upstream=registry.address, address=f"127.0.0.1:{listener.getsockname()[1]}")

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=proxy.serve, args=(client,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield proxy
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)
