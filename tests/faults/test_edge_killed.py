"""What runs is killed by -9, or replaced: users stay on the version they were on."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from harness import KEPT_WARM, Load, eventually, get
from watching import edge_of, supervisor

from deploykit.edge.process import PROGRAM

if TYPE_CHECKING:
    from harness import ReleasedService


def kill(released: ReleasedService, program: str) -> int:
    """Kill -9 a program's process; its pid."""
    status = supervisor(released).status(program)
    assert status is not None
    assert status.pid is not None
    os.kill(status.pid, signal.SIGKILL)
    return status.pid


def back_since(released: ReleasedService, program: str, pid: int) -> bool:
    status = supervisor(released).status(program)
    return status is not None and status.pid is not None and status.pid != pid


@pytest.mark.parametrize("command", ["release", "rollback"])
def test_a_proxy_that_is_killed_right_after_a_switch_comes_back_to_the_version_it_was_on(
    tiny: ReleasedService, command: str
) -> None:
    tiny.settings(warm_for=KEPT_WARM)
    tiny.release("one")
    tiny.release("two")
    texts = ["three", "four", "three"] if command == "release" else ["one"]
    for text in texts:
        if command == "release":
            tiny.release(text)
        else:
            tiny.ok("rollback")
        for _ in range(2):
            pid = kill(tiny, PROGRAM)
            # The supervisor holds the listening socket: who comes now waits, and is not refused.
            assert get(tiny.url, timeout=20) == text
            assert back_since(tiny, PROGRAM, pid)
            with Load(tiny.url, clients=4, pause=0) as load:
                load.next_answers(60)
            load.assert_nothing_lost()
            assert set(load.answers) == {text}
        assert tiny.problems() == []


def test_a_proxy_that_is_killed_in_the_middle_of_a_switch_loses_no_version(tiny: ReleasedService) -> None:
    """Between the raise and the lower both versions have weight: whichever users get, both run, and the release ends
    well.
    """
    tiny.settings(warm_for=KEPT_WARM)
    for number in range(3):
        tiny.release(f"live {number}")
        tiny.behave(f"new {number}")
        before = tiny.serves(tiny.url)
        ran = tiny("release", kill={"step": 11, "point": "before-intent", "victim": "edge"})
        assert ran.struck == ("lower", "before-intent")
        assert ran.returncode in {0, 1}, ran.output
        assert tiny.serves(tiny.url) == (f"new {number}" if ran.returncode == 0 else before)
        assert tiny.problems() == []


def test_other_settings_right_after_a_switch_lose_nothing_and_the_switch_stays(tiny: ReleasedService) -> None:
    tiny.settings(warm_for=KEPT_WARM)
    tiny.release("one")
    with Load(tiny.url, clients=4, pause=0.002) as load:
        for text in ("two", "three"):
            tiny.release(text)
            for hard_stop_after in (100, 200, 300):
                edge_of(tiny, hard_stop_after=hard_stop_after).ensure()
                assert tiny.serves(tiny.url) == text
        tiny.ok("rollback")
        edge_of(tiny, hard_stop_after=400).ensure()
        assert tiny.serves(tiny.url) == "two"
        load.next_answers()
    load.assert_nothing_lost()
    assert tiny.problems() == []


@pytest.mark.parametrize("replicas", [1, 2])
def test_an_app_that_is_killed_comes_back_by_itself_as_the_version_it_was(tiny: ReleasedService, replicas: int) -> None:
    tiny.settings(warm_for=KEPT_WARM, replicas=replicas)
    tiny.release("one")
    tiny.release("two")
    for replica in range(replicas):
        name = f"r2-web-{replica}"
        pid = kill(tiny, name)
        eventually(lambda name=name, pid=pid: back_since(tiny, name, pid))
        eventually(lambda: tiny.serves(tiny.url) == "two")
    with Load(tiny.url, clients=4, pause=0) as load:
        load.next_answers(60)
    load.assert_nothing_lost()
    assert set(load.answers) == {"two"}
    assert sum(item["restarts"] for item in tiny.instances() if item["role"] == "live") == replicas
    assert tiny.problems() == []


def test_a_supervisor_that_is_killed_takes_nothing_with_it_and_the_next_command_adopts_what_runs(
    tiny: ReleasedService,
) -> None:
    tiny.settings(warm_for=KEPT_WARM)
    tiny.release("one")
    tiny.release("two")
    before = {item["name"]: item["address"] for item in tiny.instances()}
    client = supervisor(tiny)
    pids = {status.name: status.pid for status in client.programs()}
    with Load(tiny.url) as load:
        pid = client.pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        load.next_answers(40)
        tiny.ok("rollback")
        load.next_answers(40)
        assert tiny.serves(tiny.url) == "one"
        tiny.release("three")
        load.next_answers(40)
    load.assert_nothing_lost()
    assert tiny.serves(tiny.url) == "three"
    assert before.keys() & {item["name"] for item in tiny.instances()} == {"r1-web-0"}
    after = {status.name: status.pid for status in supervisor(tiny).programs()}
    assert after["r1-web-0"] == pids["r1-web-0"], "the same process as before"
    assert supervisor(tiny).pid() not in {None, pid}
    assert tiny.problems() == []


def test_supervisor_and_app_and_proxy_killed_at_once_are_back_with_the_next_command(tiny: ReleasedService) -> None:
    tiny.settings(warm_for=KEPT_WARM)
    tiny.release("one")
    tiny.release("two")
    client = supervisor(tiny)
    pids = [status.pid for status in client.programs() if status.pid is not None]
    pid = client.pid()
    assert pid is not None
    for victim in (pid, *pids):
        os.kill(victim, signal.SIGKILL)
    tiny.ok("rollback")
    eventually(lambda: tiny.serves(tiny.url) == "one")
    assert tiny.problems() == []
