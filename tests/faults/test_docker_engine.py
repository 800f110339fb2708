"""The engine itself ends and comes back in the middle of a release. It is one of this test's own, in a network of its
own: its bridges and its rules of the firewall are nobody else's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from docker_images import images  # noqa: F401 - they are copied from the engine that others use
from harness import BASE_IMAGE, EDGE_IMAGE, KEPT_WARM, Load, Machine, docker_engine, eventually, get, new_state

from deploykit.process.docker import Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness import ReleasedService

pytestmark = pytest.mark.xdist_group("one engine")
CLONE_NEWNET = 0x4000_0000
ADDRESS = "10.77.0.1"
"""Of this machine in the test's network. Not loopback: what is published there goes through a helper of the engine,
which ends with it; everything else goes by rules of the kernel."""
LIBC = ctypes.CDLL(None, use_errno=True)


def checked(code: int) -> None:
    if code != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextlib.contextmanager
def own_network() -> Iterator[None]:
    """This thread, and all threads and processes that it begins, in a new network with nothing but a loopback
    interface.
    """
    with open("/proc/thread-self/ns/net") as before:  # noqa: PTH123 - its descriptor is what is kept
        checked(LIBC.unshare(CLONE_NEWNET))
        try:
            for words in (("link", "set", "lo", "up"), ("address", "add", f"{ADDRESS}/32", "dev", "lo")):
                subprocess.run(["ip", *words], check=True, timeout=10)
            yield
        finally:
            checked(LIBC.setns(before.fileno(), CLONE_NEWNET))


class Daemon:
    """A Docker Engine with everything of its own. Containers stay up while it is away (`--live-restore`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = f"unix://{folder}/sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        own = ("--data-root", "--exec-root", "--pidfile")
        words = [word for name in own for word in (name, str(self.folder / name.strip("-")))]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["dockerd", *words, "--host", self.host, "--live-restore"], stdout=log, stderr=log
            )
        eventually(self.answers, within=60, why=f"the engine does not start:\n{self.said()}")

    def answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.said()
        engine = Engine(self.host)
        try:
            return engine.problem() is None
        finally:
            engine.close()

    def said(self) -> str:
        return "\n".join((self.folder / "log").read_text(errors="replace").splitlines()[-15:])

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(60)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop()
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for mount in sorted((path for path in mounts if path.startswith(f"{self.folder}/")), reverse=True):
            subprocess.run(["umount", mount], check=False, timeout=30)
        shutil.rmtree(self.folder)


@pytest.fixture(scope="module")
def daemon(images: None) -> Iterator[Daemon]:  # noqa: F811
    with tempfile.TemporaryFile() as saved:
        docker = os.environ.get("DOCKER", "/usr/bin/docker")
        subprocess.run([docker, "save", BASE_IMAGE, EDGE_IMAGE], stdout=saved, check=True, timeout=120)
        with own_network():
            made = Daemon(Path(tempfile.mkdtemp(prefix="dk-engine-", dir="/tmp")))
            try:
                made.start()
                saved.seek(0)
                subprocess.run([docker, "--host", made.host, "load", "--quiet"], stdin=saved, check=True, timeout=180)
                yield made
            finally:
                made.close()


@pytest.fixture(scope="module")
def machine(daemon: Daemon) -> Iterator[Machine]:
    """In the daemon's network, as its commands have to be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", daemon.host)
        docker_engine.cache_clear()
        made = Machine(new_state())
        try:
            yield made
        finally:
            made.close()
            docker_engine().close()
            docker_engine.cache_clear()


@pytest.fixture
def released(machine: Machine, tmp_path: Path) -> Iterator[ReleasedService]:
    with machine.service(tmp_path / "tiny", target="docker") as made:
        everywhere(made)
        yield made


def everywhere(released: ReleasedService) -> None:
    """Published on every address of the machine."""
    released.settings(warm_for=KEPT_WARM)
    file = released.repo / "pyproject.toml"
    file.write_text(
        file.read_text().replace(f"port = {released.port}\n", f'port = {released.port}\nbind = "0.0.0.0"\n')
    )
    released.behave("settings")


def running(released: ReleasedService) -> dict[str, int]:
    """The pid of each container that runs."""
    engine = docker_engine()
    listed = engine.containers({"deploykit.app": released.app})
    found = [engine.find_container(each["Id"]) for each in listed]
    return {each["Name"]: each["State"]["Pid"] for each in found if each is not None and each["State"]["Running"]}


@pytest.mark.parametrize(
    ("where", "way"),
    [
        pytest.param(
            "deploykit.release.hosting.docker:DockerHosting._image",
            "release",
            id="while it builds",
            marks=pytest.mark.every_case,
        ),
        pytest.param(
            "deploykit.release.execution.actions:RolloutActions._health",
            "release --resume",
            id="while it starts",
            marks=pytest.mark.every_case,
        ),
        pytest.param("deploykit.release.execution.actions:RolloutActions._lower", "rollback", id="in the switch"),
        pytest.param(
            "deploykit.release.execution.actions:RolloutActions._retire",
            "release",
            id="afterwards",
            marks=pytest.mark.every_case,
        ),
    ],
)
def test_an_engine_that_ends_in_the_middle_of_a_release_takes_nobody_with_it(
    released: ReleasedService, daemon: Daemon, tmp_path: Path, counted: Callable[[str], None], where: str, way: str
) -> None:
    """What runs goes on.

    The release goes back, or is finished or undone by whatever is typed when the engine is there again.
    """
    for text in ("zero", "one"):
        released.release(text)
    released.behave("two")
    before = running(released)
    url, ready = f"http://{ADDRESS}:{released.port}", tmp_path / "ready"
    with Load(url, clients=3) as load, ThreadPoolExecutor(1) as pool:
        load.next_answers()
        ran = pool.submit(released, "release", pauses=[{"where": where, "seconds": 3.0, "ready": str(ready)}])
        eventually(ready.exists, within=40, why="the release never came there")
        daemon.stop()
        sent = load.sent
        broken = ran.result()
        load.next_answers(100)
        served = load.sent - sent
        assert get(url) in {"one", "two"}, "somebody answers while there is no engine"
        daemon.start()
        load.next_answers(100)
        assert before.items() <= running(released).items(), "nothing ended with the engine"
        again = released(*way.split())
        load.next_answers()
    assert broken.returncode == 1, broken.output
    assert "Traceback" not in broken.output
    assert "no Docker Engine answers" in broken.text or "Docker is not running" in broken.text, broken.output
    assert "next:" in broken.text
    load.assert_nothing_lost()
    assert again.returncode in ({0, 3} if way == "release --resume" else {0}), again.output
    assert get(url) in {"one", "two", "zero"}
    if way == "release":
        assert get(url) == "two"
    if again.returncode == 3:
        # It has ended in the record, and without an engine its container could not be stopped: the next release does
        # that.
        assert "there is nothing to resume" in again.text
        released.release("three")
    assert released.problems() == []
    counted(f"{served} requests were served while there was no engine, {load.sent} in all, 0 lost")
