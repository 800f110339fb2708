"""A command that dies before and after each of its writes, wherever they go: the three ways on each find theirs.

All of it in one process, on fakes of target and edge (`test_fakes.py` holds them to the contracts). `tests/faults/test_kill.py`
kills real commands on real targets, each kind of step once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from fake_place import BAD, FakeChecks
from harness_crashes import Ended, Environment

from deploykit.release.owner import Owner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WAYS = ("resume", "rollback", "release")
AFTER_FILES = {"acquire", "begin", "intend plan"}
"""Writes that come after a file of the environment's was written, or first of all."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """`before` was released, tree by tree; then the command dies. `warm_for` seconds, `shared` as on an engine."""

    before: tuple[str, ...]
    command: str = "release"
    tree: str = "new"
    warm_for: float = 3_600
    replicas: int = 1
    shared: bool = False


SCENARIOS = {
    "first": Scenario(before=()),
    "first, on an engine": Scenario(before=(), shared=True),
    "second": Scenario(before=("one",), warm_for=0),
    "third": Scenario(before=("one", "two")),
    "third, two replicas on an engine": Scenario(before=("one", "two"), replicas=2, shared=True),
    "bad": Scenario(before=("one", "two"), tree=BAD),
    "first and bad, on an engine": Scenario(before=(), tree=BAD, shared=True),
    "rollback to what is warm": Scenario(before=("one", "two", "three"), command="rollback"),
    "rollback to what is gone": Scenario(before=("one", "two", "three"), command="rollback", warm_for=0),
    "rollback on an engine": Scenario(before=("one", "two", "three"), command="rollback", warm_for=0, shared=True),
}


@pytest.fixture
def environment(memory: Path, monkeypatch: pytest.MonkeyPatch, scenario: Scenario) -> Environment:
    made = Environment(memory / "shop", scenario.shared)
    made.settings(warm_for=scenario.warm_for, replicas=scenario.replicas)
    monkeypatch.setattr(Owner, "me", made.me)
    monkeypatch.setattr(Owner, "is_dead", lambda owner: owner.pid != made.pid)
    monkeypatch.setattr("deploykit.release.checks.Checks", FakeChecks)
    for tree in scenario.before:
        assert made("release", tree).code == 0
    return made


def expected(scenario: Scenario, died: Ended, way: str) -> tuple[int, str]:
    """The exit code of `way` and the tree that users get then."""
    if way == "release":
        return 0, "mended"
    before = scenario.before[-1] if scenario.before else ""
    if "begin" not in died.writes or "finish" in died.writes:
        # Nothing is unfinished: there is nothing to resume, and a rollback is one of what is live.
        return (3, died.live) if way == "resume" or not died.previous else (0, died.previous)
    if scenario.command == "rollback":
        return 0, scenario.before[-2]
    bad = scenario.tree == BAD
    if way == "resume":
        return (1, before) if bad else (0, scenario.tree)
    judged = "result verify" in died.writes and not bad
    return (3, scenario.tree) if judged and not before else (0, before)


def cases(writes: list[str]) -> Iterator[tuple[int, str, str]]:
    """(write, "before" or "after" it, the way on): each write and each way.

    Before a write is where the end of the write before leaves everything, but for what went into files in between.
    """
    for at, name in enumerate(writes):
        for when in ("before", "after") if name in AFTER_FILES else ("after",):
            yield from ((at, when, way) for way in WAYS)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))
def test_a_command_that_dies_anywhere_goes_on_or_back(
    environment: Environment, scenario: Scenario, record_property: Callable[[str, object], None]
) -> None:
    saved = environment.saved()
    whole = environment(scenario.command, scenario.tree)
    assert whole.code == (1 if scenario.tree == BAD else 0)
    assert environment.problems() == []
    wrong, count = [], 0
    for at, when, way in cases(whole.writes):
        count += 1
        environment.restore(saved)
        died = environment(scenario.command, scenario.tree, at=at, when=when)
        assert died.code is None, "it lived"
        went_on = environment(way, "mended" if way == "release" else scenario.tree)
        found = environment.problems()
        code, tree = expected(scenario, died, way)
        if (went_on.code, environment.state.serving()) != (code, {tree}):
            got = f"exit code {went_on.code}, users get {environment.state.serving()}"
            found.append(f"{got} instead of {code}, {tree!r}: {went_on.said}")
        wrong += [f"{when} {at} {whole.writes[at]!r}, then {way}: {problem}" for problem in found]
    record_property("crashes", count)
    assert not wrong, f"{len(wrong)} things went wrong in {count} cases:\n" + "\n".join(wrong[:20])
