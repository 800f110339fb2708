"""The same faults where the service runs in containers of a real engine, behind HAProxy in containers."""

from __future__ import annotations

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from harness import BASE_IMAGE, EDGE_IMAGE, KEPT_WARM, Load, World, docker_engine, eventually, get
from test_cancel import (  # noqa: F401 - collected here as well
    Scene,
    test_a_cancelled_release_leaves_everything_as_it_was_and_the_next_one_just_works,
    test_a_cancelled_rollback_leaves_everything_as_it_was_and_the_next_one_just_works,
    test_a_migration_or_a_slow_start_is_really_interrupted,
    test_what_is_past_its_verdict_is_finished_whatever_comes,
)
from test_kill import (  # noqa: F401
    test_a_first_release_that_was_killed_goes_on_or_leaves_nothing,
    test_a_release_that_was_killed_beside_its_journal_goes_on_or_back,
    test_a_release_that_was_killed_goes_on_or_back,
    test_a_release_that_was_killed_while_it_undid_itself_is_undone,
    test_a_rollback_that_was_killed_is_finished,
    trials,
)
from test_ten_releases import (  # noqa: F401
    test_a_crash_at_start_is_given_up_within_two_seconds_and_says_why,
    test_a_health_path_that_answers_500_is_given_up_within_five_seconds_and_says_why,
    test_a_long_request_that_is_in_flight_during_the_switch_is_answered,
    test_failed_releases_never_evict_what_can_be_rolled_back_to,
    test_ten_releases_in_a_row_lose_no_request,
)
from test_two_at_once import (  # noqa: F401
    other,
    test_a_lock_by_hand_keeps_everybody_out_until_it_is_taken_away,
    test_a_lock_that_a_killed_process_left_behind_is_taken_over_and_that_is_said,
    test_of_two_releases_one_wins_and_the_other_is_told_who_holds_it,
    test_two_releases_at_the_very_same_moment_leave_one_version_with_the_traffic,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from test_kill import Case

EVERY = bool(os.environ.get("DK_EVERY_CASE"))
"""Kill at every point of every step. Otherwise each step is met at one of its points, by turns: builds take their time."""
_EDGE = f"""
FROM {BASE_IMAGE}
RUN apt-get update && apt-get install -y --no-install-recommends haproxy && rm -rf /var/lib/apt/lists/*
STOPSIGNAL SIGUSR1
"""


@pytest.fixture(scope="session", autouse=True)
def images() -> None:
    """The base image is there (see .ci/run); that of the edge is made of it, like the official one."""
    if docker_engine().find("inspect_image", EDGE_IMAGE) is None:
        subprocess.run(
            [os.environ.get("DOCKER", "/usr/bin/docker"), "build", "--network", "host", "-t", EDGE_IMAGE, "-"],
            input=_EDGE.encode(),
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
            check=True,
            capture_output=True,
            timeout=300,
        )


@pytest.fixture
def target() -> str:
    return "docker"


@pytest.fixture(params=["Ctrl-C", "SIGTERM"])
def scene(tiny: World, request: pytest.FixtureRequest) -> Scene:
    tiny.settings(warm_for=KEPT_WARM)
    made = Scene(tiny, request.param)
    made.release()
    made.release()
    return made


@pytest.fixture
def share() -> Callable[[list[Case]], list[Case]]:
    """Each step once, its points and the ways on by turns."""

    def pick(cases: list[Case]) -> list[Case]:
        if EVERY:
            return cases
        steps: dict[Any, list[Case]] = {}
        for case in cases:
            # Beside the journal it is the calls of the ledger that are counted.
            steps.setdefault(case.plan.get("step", case.plan.get("call")), []).append(case)
        return [of_step[turn * 4 % len(of_step)] for turn, of_step in enumerate(steps.values())]

    return pick


def kill_proxy(world: World) -> None:
    labels = {"deploykit.app": world.app, "deploykit.kind": "edge", "deploykit.edge": "proxy"}
    (running,) = [each["Id"] for each in docker_engine().containers(labels) if each["State"] == "running"]
    kill_container(running)


@pytest.mark.parametrize("pauses", ["at the switch", "while it is judged"])
def test_a_proxy_that_is_killed_during_a_release_loses_no_version(tiny: World, pauses: str) -> None:
    """Who is connected is cut by a kill, who comes waits: nobody is told no, and the release ends well."""
    tiny.settings(warm_for=KEPT_WARM)
    tiny.release("one")
    tiny.behave("two")
    where = {"at the switch": "ReleasePerformer._lower", "while it is judged": "ReleasePerformer._verify"}[pauses]
    with ThreadPoolExecutor(1) as pool:
        ran = pool.submit(tiny, "release", pauses=[{"where": f"deploykit.release.performer:{where}", "seconds": 3.0}])
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
    docker_engine().find("remove_image", name, force=True)


def test_an_edge_that_is_upgraded_by_a_release_under_load_loses_no_request(
    tiny: World, newer_edge: str, counted: Callable[[str], None]
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
            assert edge_images(tiny) == {docker_engine().call("inspect_image", image)["Id"]}
            gets.next_answers()
        tiny.ok("rollback")
        gets.next_answers()
    for load in (gets, slow):
        load.assert_nothing_lost()
    assert tiny.serves(tiny.url) == "number 1"
    assert tiny.problems() == []
    counted(f"{gets.sent + slow.sent} requests over 3 changes of the edge's image, 0 lost")


def edge_images(world: World) -> set[str]:
    """Of the newest proxy that runs: the one before may still be finishing."""
    labels = {"deploykit.app": world.app, "deploykit.kind": "edge", "deploykit.edge": "proxy"}
    running = [each for each in docker_engine().containers(labels) if each["State"] == "running"]
    return {max(running, key=lambda each: int(each["Labels"]["deploykit.generation"]))["ImageID"]}


def kill_container(container: str) -> None:
    """Kill -9 its first process, as the kernel would; what `docker kill` ends is not started again by the engine."""
    os.kill(docker_engine().call("inspect_container", container)["State"]["Pid"], signal.SIGKILL)


def test_a_proxy_that_is_killed_right_after_a_switch_comes_back_to_the_version_it_was_on(tiny: World) -> None:
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


def test_a_container_that_is_killed_comes_back_by_itself(tiny: World) -> None:
    tiny.release("one")
    (instance,) = tiny.instances()
    kill_container(f"{tiny.app}.local.{instance['name']}")
    eventually(lambda: tiny.serves(tiny.url) == "one")
    assert tiny.instances()[0]["address"] == instance["address"]
    assert tiny.problems() == []
