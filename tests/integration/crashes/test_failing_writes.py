"""A ledger that can't be written, for a moment or from then on, at each of a command's writes.

Where the command says that it is done, the ledger has what users get. Where it could not end the release, that stays
unfinished, and the next command settles it.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from fake_hosting import FakeChecks, FakeVerification, read_tree
from harness_crashes import WRITING, Ended, Processes, Scene, unserved
from writes import Writes

from deploykit.model import DeploykitError
from deploykit.release.environment.owner import Owner

if TYPE_CHECKING:
    from pathlib import Path

BEFORE = ("one", "two")


@pytest.fixture
def scene(memory: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Where all of `BEFORE` was released."""
    processes = Processes()
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(Owner, "me", processes.me)
    monkeypatch.setattr(Owner, "is_dead", lambda owner: owner.pid != processes.pid)
    monkeypatch.setattr("deploykit.release.version.sources.read_tree", read_tree)
    monkeypatch.setattr("deploykit.release.execution.runner.Checks", FakeChecks)
    monkeypatch.setattr("deploykit.release.execution.runner.Verification", FakeVerification)
    monkeypatch.setattr("deploykit.rollout.engine._PAUSE_SECONDS", 0.0)
    made = Scene.make(memory / "shop", processes, shared=False, warm_for=3_600, replicas=1, strategy="")
    for tree in BEFORE:
        assert made("release", tree).code == 0
    return made


def with_failing_writes(scene: Scene, command: str, first: int, last: int) -> tuple[Ended, list[str], list[str]]:
    """Run the command while the ledger's writes `first` to `last` fail: how it ended, what failed, when users got
    nothing.
    """
    failed: list[str] = []
    tried = 0

    def before(name: str) -> None:
        nonlocal tried
        if name.partition(" ")[0] not in WRITING:
            return
        tried += 1
        if first <= tried <= last:
            failed.append(name)
            raise DeploykitError("The ledger is busy.", next_step="try again")

    lost, look = unserved(scene)
    return scene(command, "new", Writes(before, look)), failed, lost


@pytest.mark.timeout(300)
@pytest.mark.parametrize("command", ["release", "rollback"])
@pytest.mark.parametrize("lasting", [1, 1_000], ids=["once", "from then on"])
def test_a_ledger_that_can_not_be_written_is_never_told_as_done(
    scene: Scene, memory: Path, command: str, lasting: int
) -> None:
    wanted = {"release": "new", "rollback": "one"}[command]
    wrong, first = [], 0
    while True:
        first += 1
        tried = scene.copied(memory / "tried")
        ended, failed, lost = with_failing_writes(tried, command, first, first + lasting - 1)
        if not failed:
            break
        found = [*lost]
        live, serving = tried.live()[0], tried.state.serving()
        unfinished = any(problem.startswith("unfinished") for problem in tried.problems())
        if not unfinished and serving != {live}:
            found.append(f"it has ended, users get {serving}, and the ledger has {live!r}")
        if (ended.code == 0) != (serving == {wanted} and not unfinished):
            found.append(f"exit code {ended.code}, users get {serving}, unfinished: {unfinished}: {ended.reason}")
        if unfinished:
            for way in ("resume", "rollback"):
                settled = tried.copied(memory / "settled")
                went_on = settled(way, "new")
                found += [f"then {way}: {problem}" for problem in settled.problems()]
                if went_on.code or settled.state.serving() != {settled.live()[0]}:
                    found.append(f"then {way}: {went_on}, users get {settled.state.serving()}")
                shutil.rmtree(settled.folder)
        wrong += [f"{failed[0]} and {len(failed) - 1} more failed: {problem}" for problem in found]
        shutil.rmtree(tried.folder)
    assert first > 15
    assert not wrong, f"{len(wrong)} things went wrong:\n" + "\n".join(wrong[:40])
