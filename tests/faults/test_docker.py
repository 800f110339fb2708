"""The same faults where the service runs in containers of a real engine, behind HAProxy in containers."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import foreign_repo
import pytest
from docker_images import images  # noqa: F401 - for each test
from harness import (
    EDGE_IMAGE,
    KEPT_WARM,
    Load,
    Machine,
    ReleasedService,
    docker_engine,
    eventually,
    free_port,
    get,
    new_state,
)
from registries import (  # noqa: F401 - used here
    registry,
    test_a_registry_that_can_not_fails_the_release_before_anything_is_started,
)
from test_cancel import (  # noqa: F401 - collected here as well
    Scene,
    test_a_cancelled_release_leaves_everything_as_it_was_and_the_next_one_just_works,
)
from test_green import (  # noqa: F401 - the same cases, collected here for Docker
    test_a_process_that_ends_again_and_again_fails_the_release,
    test_a_release_with_an_older_ledger_is_refused_and_users_keep_what_they_have,
    test_a_rollback_passes_over_a_release_of_the_same_version,
    test_pages_that_fail_behind_a_healthy_path_fail_the_release,
    test_status_and_verify_say_what_users_get_and_what_was_started_again,
)
from test_ten_releases import (  # noqa: F401 - the same cases, collected here for Docker
    series,
    test_releases_in_a_row_lose_no_request,
)
from test_two_at_once import (  # noqa: F401
    somebody,
    test_a_lock_that_a_killed_process_left_behind_is_taken_over_and_that_is_said,
    test_two_releases_at_the_very_same_moment_leave_one_version_with_the_traffic,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def target() -> str:
    return "docker"


# One way to cancel, the stages in which the targets differ and one pair of clones by default: all of them are met on
# the machine's own processes.
@pytest.fixture(params=["Ctrl-C", pytest.param("SIGTERM", marks=pytest.mark.every_case)])
def scene(tiny: ReleasedService, request: pytest.FixtureRequest, every_case: bool) -> Scene:
    tiny.settings(warm_for=KEPT_WARM)
    made = Scene(tiny, request.param, sample=not every_case)
    made.release()
    made.release()
    return made


@pytest.fixture(params=["another clone", pytest.param("the same clone", marks=pytest.mark.every_case)])
def other(tiny: ReleasedService, request: pytest.FixtureRequest, tmp_path: Path) -> ReleasedService:
    return somebody(tiny, tmp_path, request.param)


def kill_proxy(released: ReleasedService) -> None:
    labels = {"deploykit.app": released.app, "deploykit.kind": "edge", "deploykit.edge": "proxy"}
    (running,) = [each["Id"] for each in docker_engine().containers(labels) if each["State"] == "running"]
    kill_container(running)


@pytest.mark.parametrize("pauses", ["at the switch", "while it is judged"])
def test_a_proxy_that_is_killed_during_a_release_loses_no_version(tiny: ReleasedService, pauses: str) -> None:
    """Who is connected is cut by a kill, who comes waits: nobody is told no, and the release ends well."""
    tiny.settings(warm_for=KEPT_WARM)
    tiny.release("one")
    tiny.behave("two")
    where = {"at the switch": "RolloutActions._lower", "while it is judged": "RolloutActions._verify"}[pauses]
    with ThreadPoolExecutor(1) as pool:
        ran = pool.submit(
            tiny, "release", pauses=[{"where": f"deploykit.release.execution.actions:{where}", "seconds": 3.0}]
        )
        eventually(lambda: tiny.serves(tiny.url) == "two", within=40, why="the new version never got the traffic")
        kill_proxy(tiny)
        while not ran.done():
            assert get(tiny.url, timeout=20) in {"one", "two"}
    assert ran.result().returncode == 0, ran.result().output
    with Load(tiny.url, clients=4) as load:
        load.next_answers(40)
    load.assert_nothing_lost()
    assert set(load.answers) == {"two"}
    assert tiny.problems() == []


@pytest.fixture
def newer_edge() -> Iterator[str]:
    """Another image of the edge, as an upgrade brings it."""
    name = f"deploykit-test-haproxy:newer-{os.getpid()}"
    subprocess.run(
        [os.environ.get("DOCKER", "/usr/bin/docker"), "build", "-t", name, "-"],
        input=f"FROM {EDGE_IMAGE}\nLABEL newer=1\n".encode(),
        env={**os.environ, "DOCKER_BUILDKIT": "1"},
        check=True,
        capture_output=True,
        timeout=60,
    )
    yield name
    docker_engine().remove_image(name, force=True)


def test_an_edge_that_is_upgraded_by_a_release_under_load_loses_no_request(
    tiny: ReleasedService, newer_edge: str, counted: Callable[[str], None]
) -> None:
    """Its image is another one: releases there and back, and a rollback, with clients that never retry."""
    tiny.settings(warm_for=KEPT_WARM)
    tiny.release("zero")
    gets = Load(tiny.url, clients=4, pause=0.003)
    slow = Load(tiny.url, clients=2, path="/slow?ms=300")
    with gets, slow:
        for number, image in enumerate((newer_edge, EDGE_IMAGE, newer_edge)):
            pyproject = tiny.repo / "pyproject.toml"
            lines = pyproject.read_text().splitlines(keepends=True)
            pyproject.write_text(
                "".join(f'edge_image = "{image}"\n' if line.startswith("edge_image") else line for line in lines)
            )
            tiny.release(f"number {number}")
            assert edge_images(tiny) == {docker_engine().find_image(image)["Id"]}
            gets.next_answers()
        tiny.ok("rollback")
        gets.next_answers()
    for load in (gets, slow):
        load.assert_nothing_lost()
    assert tiny.serves(tiny.url) == "number 1"
    assert tiny.problems() == []
    counted(f"{gets.sent + slow.sent} requests over 3 changes of the edge's image, 0 lost")


def edge_images(released: ReleasedService) -> set[str]:
    """Of the newest proxy that runs: the one before may still be finishing."""
    labels = {"deploykit.app": released.app, "deploykit.kind": "edge", "deploykit.edge": "proxy"}
    running = [each for each in docker_engine().containers(labels) if each["State"] == "running"]
    return {max(running, key=lambda each: int(each["Labels"]["deploykit.generation"]))["ImageID"]}


def kill_container(container: str) -> None:
    """Kill -9 its first process, as the kernel would; what `docker kill` ends is not started again by the engine."""
    os.kill(docker_engine().find_container(container)["State"]["Pid"], signal.SIGKILL)


def test_a_proxy_that_is_killed_right_after_a_switch_comes_back_to_the_version_it_was_on(tiny: ReleasedService) -> None:
    tiny.settings(warm_for=KEPT_WARM)
    for text in ("one", "two", "three"):
        tiny.release(text)
        with Load(tiny.url, clients=4) as load:
            kill_proxy(tiny)
            # Connections that were open are cut by a kill; who comes now waits in the holder's socket, and is answered.
            eventually(lambda text=text: tiny.serves(tiny.url) == text)
        assert set(load.answers) <= {text}
        with Load(tiny.url, clients=4) as load:
            load.next_answers(40)
        load.assert_nothing_lost()
        assert set(load.answers) == {text}
        assert tiny.problems() == []


def test_a_container_that_is_killed_comes_back_by_itself(tiny: ReleasedService) -> None:
    tiny.release("one")
    (instance,) = tiny.instances()
    kill_container(f"{tiny.app}.local.{instance['name']}")
    eventually(lambda: tiny.serves(tiny.url) == "one")
    assert tiny.instances()[0]["address"] == instance["address"]
    assert tiny.problems() == []


@pytest.fixture
def over_ssh(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables of somebody who reaches the engine through a real sshd of this test's own."""
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    assert sshd is not None, "the Docker tests need sshd: apt-get install openssh-server"
    folder = tmp_path / "ssh"
    folder.mkdir()
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True, timeout=30)
    shutil.copy(folder / "user.pub", folder / "authorized")
    port = free_port()
    Path("/run/sshd").mkdir(exist_ok=True)
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        "StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nPasswordAuthentication no\nMaxStartups 50\n"
    )
    public = (folder / "host.pub").read_text().split()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {public[0]} {public[1]}\n")
    (folder / "config").write_text(
        f"Host vm\n HostName 127.0.0.1\n Port {port}\n User {getpass.getuser()}\n IdentityFile {folder}/user\n"
        f" UserKnownHostsFile {folder}/known\n IdentitiesOnly yes\n"
    )
    ssh = folder / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/config "$@"\n')
    ssh.chmod(0o755)
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([sshd, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
    try:
        eventually(lambda: "listening" in (folder / "log").read_text())
        yield {"DOCKER_HOST": "ssh://vm", "PATH": f"{ssh.parent}:{os.environ['PATH']}"}
    finally:
        server.terminate()
        server.wait(10)


OTHER_LEDGER = "was released with another ledger than this one"


def test_of_two_releases_over_ssh_from_two_machines_one_wins_and_the_other_is_told(
    tiny: ReleasedService, tmp_path: Path, over_ssh: dict[str, str]
) -> None:
    """Two people with a record of their own each: only the engine, which both reach by ssh, knows of both."""
    tiny.release("one", env=over_ssh)
    elsewhere = Machine(new_state())
    clone = tmp_path / "clone"
    foreign_repo.git(tmp_path, "clone", "--quiet", str(tiny.repo), str(clone))
    robin = replace(tiny, repo=clone, machine=elsewhere, commits={})
    slow = [{"where": "deploykit.verify.health:wait_healthy", "seconds": 4.0}]
    try:
        with Load(tiny.url) as load, ThreadPoolExecutor(1) as pool:
            tiny.behave("two")
            first = pool.submit(tiny, "release", pauses=slow, env=over_ssh)
            eventually(tiny.lock_on_target, within=40, why="nobody took the lock")
            robin.behave("three")
            refused = robin("release", env=over_ssh)
            won = first.result()
            load.next_answers()
        assert won.returncode == 0, won.output
        load.assert_nothing_lost()
        assert refused.returncode == 1
        assert f"held on its target by {getpass.getuser()}@" in refused.text, refused.output
        assert "next: wait until it is done" in refused.text
        assert tiny.serves(tiny.url) == "two"
        assert {item["state"] for item in tiny.instances()} == {"running"}
        assert tiny.problems() == []
        served = "two"
        for number in range(3):
            tiny.behave(f"here {number}")
            robin.behave(f"there {number}")
            with Load(tiny.url) as load, ThreadPoolExecutor(2) as pool:
                both = [pool.submit(who, "release", env=over_ssh) for who in (tiny, robin)]
                ran = [each.result() for each in both]
                load.next_answers()
            load.assert_nothing_lost()
            here, there = ran
            assert there.returncode in {1, 3}, there.output
            assert "held on its target by" in there.text or OTHER_LEDGER in there.text, there.output
            assert here.returncode == 0 or "held on its target by" in here.text, here.output
            assert tiny.serves(tiny.url) == (f"here {number}" if here.returncode == 0 else served)
            served = tiny.serves(tiny.url)
            assert tiny.problems() == []
        alone = robin("release", env=over_ssh)
        assert alone.returncode == 3
        assert OTHER_LEDGER in alone.text
        assert "if it was not: set ledger" in alone.text
        assert tiny.serves(tiny.url) == served
        assert tiny.problems() == []
    finally:
        elsewhere.close()
