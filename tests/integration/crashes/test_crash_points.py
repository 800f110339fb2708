"""A command that dies before and after each of its writes, wherever they go: the three ways on each find theirs.

What is there after a write is kept, and each way is taken from a copy of it: so whatever the command does afterwards
changes nothing, as after kill -9. All of it in one process, on fakes of target and edge (`test_fakes.py` holds them
to the contracts). `tests/faults/test_kill.py` kills real commands on real targets, each kind of step once.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from fake_hosting import BAD, FakeChecks, FakeVerification, read_tree
from harness_crashes import Processes, Scene, unserved
from writes import Writes

from deploykit.release.environment.owner import Owner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

WAYS = ("resume", "rollback", "release")
AFTER_FILES = {"acquire", "begin", "intend plan"}
"""Writes that come after a file of the scene's was written, or first of all: elsewhere dying before a write is
dying after the one before it.
"""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """`before` was released, tree by tree; then the command dies. `warm_for` seconds, `shared` as on an engine.
    `strategy`: further lines of the environment's settings. `judged`: the write after which there is no way back.
    """

    before: tuple[str, ...]
    command: str = "release"
    tree: str = "new"
    warm_for: float = 3_600
    replicas: int = 1
    shared: bool = False
    strategy: str = ""
    judged: str = "result verify"


@dataclass(frozen=True)
class Left:
    """What a command left behind that died there, and what it had written."""

    where: str
    writes: Sequence[str]
    scene: Scene


ROLLING = """strategy = "rolling"
[tool.deploykit.environments.local.rollout]
max_surge = 1
max_unavailable = 0
"""
CANARY = """strategy = "canary"
[tool.deploykit.environments.local.rollout]
steps = [{ share = 10 }, { share = 100 }]
sticky = true
"""
ROLLBACK = {"before": ("one", "two", "three"), "command": "rollback"}
SCENARIOS = {
    "first": Scenario(before=()),
    "first, on an engine": Scenario(before=(), shared=True),
    "second": Scenario(before=("one",), warm_for=0),
    "third": Scenario(before=("one", "two")),
    "third, two replicas on an engine": Scenario(before=("one", "two"), replicas=2, shared=True),
    "bad": Scenario(before=("one", "two"), tree=BAD),
    "first and bad, on an engine": Scenario(before=(), tree=BAD, shared=True),
    "rollback to what is warm": Scenario(**ROLLBACK),
    "rollback to what is gone": Scenario(**ROLLBACK, warm_for=0),
    "rollback to what is gone, on an engine": Scenario(**ROLLBACK, warm_for=0, shared=True),
    "rolling": Scenario(before=("one", "two"), replicas=2, strategy=ROLLING, judged="result verify-2"),
    "rolling and bad": Scenario(before=("one", "two"), replicas=2, tree=BAD, strategy=ROLLING),
    "rolling back": Scenario(**ROLLBACK, replicas=2, strategy=ROLLING),
    "recreate": Scenario(before=("one",), strategy='strategy = "recreate"'),
    "recreate and bad": Scenario(before=("one",), tree=BAD, strategy='strategy = "recreate"'),
    "recreate what was before": Scenario(**ROLLBACK, strategy='strategy = "recreate"'),
    "canary": Scenario(before=("one", "two"), strategy=CANARY, judged="result unlease"),
    "canary and bad": Scenario(before=("one", "two"), tree=BAD, strategy=CANARY),
}


ALIKE = {"first, on an engine", "third", "rollback to what is gone", "rollback to what is gone, on an engine"}
"""Others differ from these in the hosting alone, or in the replicas."""
LESS = {"rolling", "rolling back", "recreate", "recreate what was before", "canary", "bad"}
"""Most of their crash points are those of another one, too."""


@pytest.fixture
def scene(memory: Path, monkeypatch: pytest.MonkeyPatch, scenario: Scenario) -> Scene:
    """Where all of `before` was released."""
    processes = Processes()
    monkeypatch.delenv("CI", raising=False)  # there a ledger in a file is refused
    monkeypatch.setattr(Owner, "me", processes.me)
    monkeypatch.setattr(Owner, "is_dead", lambda owner: owner.pid != processes.pid)
    monkeypatch.setattr("deploykit.release.version.sources.read_tree", read_tree)
    monkeypatch.setattr("deploykit.release.execution.runner.Checks", FakeChecks)
    monkeypatch.setattr("deploykit.release.execution.runner.Verification", FakeVerification)
    made = Scene.make(
        memory / "shop",
        processes,
        shared=scenario.shared,
        warm_for=scenario.warm_for,
        replicas=scenario.replicas,
        strategy=scenario.strategy,
    )
    for tree in scenario.before:
        assert made("release", tree).code == 0
    assert made.problems() == []
    return made


@pytest.fixture
def left(scene: Scene, memory: Path, scenario: Scenario) -> list[Left]:
    """The command runs to its end, and what it would leave behind is kept at each of its writes."""
    found: list[Left] = []

    def keep(when: str, name: str) -> None:
        where = f"{when} write {len(writes.names)}, {name}"
        found.append(Left(where, tuple(writes.names), scene.copied(memory / f"left-{len(found)}")))

    def before(name: str) -> None:
        if name in AFTER_FILES:
            keep("before", name)

    lost, look = unserved(scene)
    writes = Writes(before, lambda name: (look(name), keep("after", name)))
    assert scene(scenario.command, scenario.tree, writes).code == (1 if scenario.tree == BAD else 0)
    assert scene.problems() == lost == []
    return found


def expected(scenario: Scenario, died: Left, way: str) -> tuple[int, str]:
    """The exit code of `way` and the tree that users get then."""
    if way == "release":
        return 0, "fixed"
    before = scenario.before[-1] if scenario.before else ""
    # A rollback first finishes what it goes back from.
    if "begin" not in died.writes or died.writes.count("finish") == (2 if scenario.command == "rollback" else 1):
        # Nothing is unfinished: there is nothing to resume, and a rollback is one of what is live.
        live, previous = died.scene.live()
        return (3, live) if way == "resume" or not previous else (0, previous)
    if scenario.command == "rollback":
        return 0, scenario.before[-2]
    bad = scenario.tree == BAD
    if way == "resume":
        return (1, before) if bad else (0, scenario.tree)
    judged = scenario.judged in died.writes and not bad
    return (3, scenario.tree) if judged and not before else (0, before)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(scenario, id=name, marks=pytest.mark.every_case if name in ALIKE | LESS else ())
        for name, scenario in SCENARIOS.items()
    ],
)
def test_a_command_that_dies_anywhere_goes_on_or_back(
    left: list[Left], memory: Path, scenario: Scenario, record_property: Callable[[str, object], None]
) -> None:
    wrong = []
    for died in left:
        for way in WAYS:
            scene = died.scene.copied(memory / "goes-on")
            lost, look = unserved(scene)
            went_on = scene(way, "fixed" if way == "release" else scenario.tree, Writes(after=look))
            found = [*scene.problems(), *lost]
            code, tree = expected(scenario, died, way)
            if (went_on.code, scene.state.serving()) != (code, {tree}):
                got = f"exit code {went_on.code}, users get {scene.state.serving()}"
                found.append(f"{got} instead of {code}, {tree!r}: {went_on.reason}")
            wrong += [f"{died.where}, then {way}: {problem}" for problem in found]
            shutil.rmtree(scene.folder)
    record_property("crashes", len(left) * len(WAYS))
    assert not wrong, f"{len(wrong)} things went wrong in {len(left) * len(WAYS)} cases:\n" + "\n".join(wrong[:20])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("scenario", [SCENARIOS["third, two replicas on an engine"]])
def test_what_died_blocks_nothing_once_its_artefact_is_gone(left: list[Left], memory: Path, scenario: Scenario) -> None:
    """Somebody removed the image. It can't be resumed then, and whatever comes next undoes it."""
    wrong = []
    for died in left:
        # Past its verdict the version has the traffic, so its artefact is in use.
        if "begin" not in died.writes or "result verify" in died.writes:
            continue
        for way in ("release", "rollback"):
            scene = died.scene.copied(memory / "goes-on")
            scene.state.built.pop(f"sha256:{scenario.tree}", None)
            went_on = scene(way, "fixed")
            code, tree = expected(scenario, died, way)
            if (went_on.code, scene.state.serving(), scene.problems()) != (code, {tree}, []):
                wrong.append(f"{died.where}, then {way}: {went_on}, {scene.state.serving()}, {scene.problems()}")
            shutil.rmtree(scene.folder)
    assert not wrong, f"{len(wrong)} things went wrong:\n" + "\n".join(wrong[:20])


@pytest.mark.parametrize("scenario", [Scenario(before=("one",), shared=True)], ids=["on an engine"])
def test_what_another_machine_built_is_undone_and_not_finished(left: list[Left], memory: Path) -> None:
    """The ledger alone says what that was, and it could say anything."""
    for where in ("result build", "result start"):
        died = next(each for each in left if each.where.endswith(f", {where}"))
        here = died.scene.copied(memory / where.replace(" ", "-"))
        shutil.rmtree(here.paths.released)
        refused = here("resume", "new")
        assert refused.code == 3
        assert refused.reason.startswith("what was built for r2 was not built on this machine")
        assert here("rollback", "new").code == 0
        assert here.problems() == []
        assert here.state.serving() == {"one"}
