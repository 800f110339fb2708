"""Ctrl-C through a terminal to the whole foreground group, a hang-up, SIGTERM: in every stage, and at any moment."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from harness import KEPT_WARM, Load, Ran, ReleasedService, eventually

if TYPE_CHECKING:
    from collections.abc import Callable

LONG = 30.0
"""Seconds for which a stage is held open; the signal ends it at once."""
HOWS: dict[str, dict[str, Any]] = {
    "Ctrl-C": {"terminal": True, "signal": {"how": "ctrl-c"}},
    "Ctrl-C twice": {"terminal": True, "signal": {"how": "ctrl-c", "times": 2, "pause": 0.03}},
    "SIGTERM": {"signal": {"how": "SIGTERM"}},
    "SIGTERM twice": {"terminal": True, "signal": {"how": "SIGTERM", "times": 2, "pause": 0.01}},
    "hang-up": {"terminal": True, "signal": {"how": "hang-up"}},
}
RELEASE = {
    "plan": "deploykit.release.workflow.stages:present_sources",
    "preflight": "deploykit.release.workflow.stages:preflight",
    "build": "deploykit.artifacts.local:_compile",
    "migrate": "deploykit.release.workflow.stages:migrate_database",
    "start": "deploykit.release.execution.actions:RolloutActions._start",
    "start, health": "deploykit.verify.health:wait_healthy",
    "start, smoke": "deploykit.verify.smoke:smoke",
    "switch, attach": "deploykit.edge.haproxy:HAProxyEdge.attach",
    "switch, raise": "deploykit.edge.haproxy:HAProxyEdge.set_weights",
    "switch, lower": "deploykit.release.execution.actions:RolloutActions._lower",
    "verify": "deploykit.release.execution.verification:Verification.watch",
}
ROLLBACK = {
    "plan": "deploykit.release.workflow.rollback:rollback_target",
    "start": "deploykit.release.execution.actions:RolloutActions._start",
    "start, health": "deploykit.verify.health:wait_healthy",
    "switch, raise": "deploykit.edge.haproxy:HAProxyEdge.set_weights",
    "switch, lower": "deploykit.release.execution.actions:RolloutActions._lower",
}
RECORD = {
    "record, live": "deploykit.release.execution.actions:RolloutActions._live",
    "record, drain": "deploykit.release.execution.actions:RolloutActions._drain",
}
"""The verdict is in: what is left is book-keeping, which no signal keeps from being finished."""
ON_DOCKER = {
    "deploykit.artifacts.local:_compile": "deploykit.release.hosting.docker:DockerHosting._image",
    "deploykit.edge.haproxy:HAProxyEdge.attach": "deploykit.edge.docker.edge:DockerEdge.attach",
    "deploykit.edge.haproxy:HAProxyEdge.set_weights": "deploykit.edge.docker.edge:DockerEdge.set_weights",
}
"""Where the same is done there."""


DIFFER = frozenset({"build", "start", "switch, attach", "switch, raise"})


class Scene:
    """A released service with two releases, the second of which is live, and clients that use it."""

    def __init__(self, released: ReleasedService, how: str, *, sample: bool = False) -> None:
        """`sample`: only the stages in which the targets differ; all others are the same code on each of them."""
        self.released = released
        self.sample = sample
        self.how = how
        self.turn = 0
        self.wrong: list[str] = []
        self.live = ""
        self.before = ""

    def stages(self, found: dict[str, str]) -> dict[str, str]:
        return {name: where for name, where in found.items() if not self.sample or name in DIFFER}

    def release(self) -> str:
        self.turn += 1
        self.before, self.live = self.live, f"text {self.turn}"
        self.released.release(self.live)
        return self.live

    def cancelled(self, command: str, where: str, seconds: float = LONG) -> Ran:
        self.turn += 1
        self.released.behave(f"text {self.turn}")
        where = ON_DOCKER.get(where, where) if self.released.target == "docker" else where
        return self.released(command, pauses=[{"where": where, "seconds": seconds}], **HOWS[self.how])

    def look(self, stage: str, ran: Ran, *, code: int, text: str) -> None:
        """What holds after every cancellation: what users get, the locks, the record, and what runs."""
        found = self.released.problems()
        # A second SIGTERM may come when all is done and the first one's error is being printed.
        if ran.returncode != code and not (self.how == "SIGTERM twice" and ran.returncode == -signal.SIGTERM):
            found.append(f"exit code {ran.returncode} instead of {code}")
        if (got := self.released.serves(self.released.url)) != text:
            found.append(f"users get {got!r} instead of {text!r}")
        if "Traceback" in ran.output:
            found.append("it prints a traceback")
        tail = "\n    ".join(ran.output.splitlines()[-25:])
        self.wrong += [f"{self.how} in {stage}: {problem}\n    {tail}" for problem in found]

    def running(self) -> set[str]:
        return {item["name"] for item in self.released.instances() if item["state"] != "exited"}


@pytest.fixture(params=list(HOWS))
def scene(tiny: ReleasedService, request: pytest.FixtureRequest) -> Scene:
    tiny.settings(warm_for=KEPT_WARM)
    made = Scene(tiny, request.param)
    made.release()
    made.release()
    return made


def test_a_cancelled_release_leaves_everything_as_it_was_and_the_next_one_just_works(
    scene: Scene, counted: Callable[[str], None]
) -> None:
    with Load(scene.released.url) as load:
        for stage, where in scene.stages(RELEASE).items():
            before = scene.running()
            ran = scene.cancelled("release", where)
            scene.look(stage, ran, code=1, text=scene.live)
            if (left := scene.running()) != before:
                scene.wrong.append(f"{scene.how} in {stage}: {before} ran before, and now {left}")
            scene.release()
        load.next_answers()
    load.assert_nothing_lost()
    counted(f"{len(scene.stages(RELEASE))} stages")
    assert not scene.wrong, "\n\n".join(scene.wrong)


def test_a_cancelled_rollback_leaves_everything_as_it_was_and_the_next_one_just_works(
    scene: Scene, counted: Callable[[str], None]
) -> None:
    with Load(scene.released.url) as load:
        for stage, where in scene.stages(ROLLBACK).items():
            before = scene.running()
            ran = scene.cancelled("rollback", where)
            scene.look(stage, ran, code=1, text=scene.live)
            if (left := scene.running()) != before:
                scene.wrong.append(f"{scene.how} in {stage}: {before} ran before, and now {left}")
            scene.released.ok("rollback")
            scene.look(stage, ran, code=1, text=scene.before)
            scene.live = scene.before
            scene.release()
        load.next_answers()
    load.assert_nothing_lost()
    counted(f"{len(scene.stages(ROLLBACK))} stages")
    assert not scene.wrong, "\n\n".join(scene.wrong)


def test_what_is_past_its_verdict_is_finished_whatever_comes(scene: Scene, counted: Callable[[str], None]) -> None:
    with Load(scene.released.url) as load:
        for stage, where in RECORD.items():
            ran = scene.cancelled("release", where, seconds=0.6)
            scene.look(stage, ran, code=0, text=f"text {scene.turn}")
            scene.before, scene.live = scene.live, f"text {scene.turn}"
            ran = scene.cancelled("rollback", where, seconds=0.6)
            scene.look(stage, ran, code=0, text=scene.before)
            scene.live = scene.before
            scene.release()
        load.next_answers()
    load.assert_nothing_lost()
    counted(f"{len(RECORD)} stages, of a release and of a rollback")
    assert not scene.wrong, "\n\n".join(scene.wrong)


def test_a_migration_or_a_slow_start_is_really_interrupted(tiny: ReleasedService) -> None:
    """Nothing of the test's own holds this open: the new version takes 20 s to be healthy."""
    tiny.release("one")
    tiny.behave("two", SLOW_HEALTH=20.0)
    with Load(tiny.url) as load:
        ran = tiny("release", terminal=True, signal={"how": "ctrl-c", "after": 1.5})
        load.next_answers()
    load.assert_nothing_lost()
    assert ran.returncode == 1
    assert "cancelled by Ctrl-C" in ran.output
    assert "next:" in ran.output
    assert [item["version"] for item in tiny.instances()] == [tiny.status()["version"]]
    assert tiny.problems() == []
    tiny.release("three")
    assert tiny.serves(tiny.url) == "three"


def test_the_third_signal_ends_it_at_once_and_leaves_it_for_the_rollback(tiny: ReleasedService) -> None:
    tiny.release("one")
    tiny.behave("two")
    with Load(tiny.url) as load:
        ran = tiny(
            "release",
            pauses=[{"where": RECORD["record, drain"], "seconds": LONG}],
            signal={"how": "SIGTERM", "times": 3, "pause": 0.5},
        )
        assert ran.returncode == 128 + signal.SIGTERM
        assert "SIGTERM: the traffic is being made safe first; this ends by itself" in ran.text
        assert "One more signal ends it at once and leaves it unfinished, for: invoke rollback" in ran.text
        assert tiny.status()["unfinished"].startswith("r2 (release")
        tiny.ok("rollback")
        load.next_answers()
    load.assert_nothing_lost()
    assert tiny.serves(tiny.url) == "one"
    assert tiny.problems() == []


def test_a_second_signal_ends_what_does_not_notice_the_first(tiny: ReleasedService) -> None:
    tiny.release("one")
    tiny.behave("two")
    with Load(tiny.url) as load:
        ran = tiny(
            "release",
            pauses=[{"where": RELEASE["switch, raise"], "seconds": LONG, "deaf": True}],
            signal={"how": "SIGTERM", "times": 2},
        )
        assert ran.returncode == 128 + signal.SIGTERM
        tiny.ok("rollback")
        load.next_answers()
    load.assert_nothing_lost()
    assert tiny.serves(tiny.url) == "one"
    assert tiny.problems() == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("command", "how"),
    [
        ("release", "SIGTERM"),
        pytest.param("release", "Ctrl-C", marks=pytest.mark.every_case),
        pytest.param("rollback", "SIGTERM", marks=pytest.mark.every_case),
        ("rollback", "Ctrl-C"),
    ],
)
def test_a_signal_at_any_moment_leaves_one_version_with_the_traffic(
    tiny: ReleasedService, counted: Callable[[str], None], command: str, how: str
) -> None:
    """At moments evenly spread over its time, wherever those fall: also between its stages, and while it locks."""
    moments, wrong, cut = 20, [], 0
    tiny.settings(warm_for=KEPT_WARM)
    texts = ["one", "two"]
    for text in texts:
        tiny.release(text)
    options = HOWS[how]
    began = time.monotonic()
    tiny.ok(command)
    took = time.monotonic() - began
    texts = [tiny.serves(tiny.url)]
    with Load(tiny.url) as load:
        for moment in range(moments):
            before = texts[-1]
            live = f"live {moment % 3}" if before != f"live {moment % 3}" else "live again"
            tiny.release(live)  # another text than before: a rollback does not go back to the same version
            new = f"new {moment % 2}"
            tiny.behave(new)
            after = took * moment / moments
            ran = tiny(command, **{**options, "signal": {**options["signal"], "after": after}})
            got = tiny.serves(tiny.url)
            done = new if command == "release" else before
            if ran.returncode not in {0, 1} and ran.calls:
                wrong.append(f"exit code {ran.returncode} after {after:.2f} s:\n{ran.output}")
            if got != (done if ran.returncode == 0 else live):
                wrong.append(f"exit code {ran.returncode} after {after:.2f} s, and users get {got!r}:\n{ran.output}")
            wrong += [f"after {after:.2f} s: {problem}\n{ran.output}" for problem in tiny.problems()]
            cut += ran.returncode != 0
            texts = [got]
        load.next_answers()
    load.assert_nothing_lost()
    counted(f"{moments} moments, at {cut} of which it was cut short")
    assert not wrong, "\n\n".join(wrong)
    assert cut


def test_without_a_terminal_or_anybody_who_reads_it_is_cancelled_all_the_same(tiny: ReleasedService) -> None:
    """The terminal's window is closed while the new version starts: nothing can be printed any more."""
    tiny.release("one")
    tiny.behave("two", SLOW_HEALTH=20.0)
    ran = tiny("release", terminal=True, signal={"how": "hang-up", "after": 1.0})
    assert ran.returncode == 1
    eventually(lambda: len(tiny.instances()) == 1)
    assert tiny.serves(tiny.url) == "one"
    assert tiny.problems() == []


@pytest.mark.parametrize("good", [True, False])
def test_a_release_whose_output_nobody_reads_ends_as_any_other(tiny: ReleasedService, good: bool) -> None:
    """As after `invoke release 2>&1 | head -1`: its first line finds no reader any more."""
    tiny.release("one")
    tiny.behave("two", CRASH=not good)
    ran = tiny("release", unread=True)
    assert ran.returncode == (0 if good else 1)
    assert tiny.serves(tiny.url) == ("two" if good else "one")
    assert tiny.problems() == []
