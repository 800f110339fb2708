"""Tidying up after a release: what can be gone back to stays, and a failure never fails the release."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from deploykit.model import DeploykitError, Secret
from deploykit.process.cancellation import Cancellation
from deploykit.release.hosting.local import LocalHosting
from deploykit.release.housekeeping import reap as housekeeping
from deploykit.release.housekeeping.reap import Reaped, prune
from deploykit.release.version.values import has_values, store_values

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path


class Hosting:
    def __init__(self, *, shared: bool, error: Exception | None = None) -> None:
        self.shared = shared
        self.needed: set[str] = set()
        self._error = error

    def prune(self, needed: Collection[str]) -> list[str]:
        self.needed = set(needed)
        if self._error is not None:
            raise self._error
        return ["one was removed"]


@pytest.fixture
def kept(environment: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., set[str]]:
    """Prune with two recent releases kept, while `running` are the releases that run: the versions that are needed."""
    monkeypatch.setattr(housekeeping, "KEPT_RELEASES", 2)

    def prune_now(*, shared: bool = False, running: Collection[str] = ()) -> set[str]:
        hosting = environment.hosting = Hosting(shared=shared)
        labels = [SimpleNamespace(labels=SimpleNamespace(release=release)) for release in running]
        environment.target = SimpleNamespace(instances=lambda: labels)
        assert prune(environment) == Reaped(done=("one was removed",))
        return {digest.removeprefix("sha256:") for digest in hosting.needed}

    return prune_now


def with_values(environment: Any, *releases: str) -> None:
    for release in releases:
        store_values(environment.paths.values, release, {"KEY": Secret("wren-and-finch")})


def names_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_can_be_gone_back_to_is_kept(released: Any, kept: Any) -> None:
    for version in ("1", "2", "3", "4", "5"):
        released(version)
    # After a rollback to 4 the next one goes to 3.
    assert kept() == {"3", "4", "5"}
    assert kept(running=["r1"]) == {"1", "3", "4", "5"}
    released("6", outcome="failed")
    assert kept() == {"3", "4", "5"}
    released("7", outcome="running")
    assert kept() == {"3", "4", "5", "7"}


def test_an_engine_keeps_the_newest_images_by_itself(released: Any, kept: Any) -> None:
    for version in ("1", "2", "3"):
        released(version, outcome="done" if version != "2" else "failed")
    released("4")
    released("4")
    assert kept(shared=True) == {"3", "4"}


def test_variables_of_releases_that_can_not_be_gone_back_to_are_removed(
    environment: Any, released: Any, kept: Any
) -> None:
    for version in ("1", "2", "3", "4", "5"):
        released(version)
    released("6", outcome="failed")
    with_values(environment, "generated", "r1", "r2", "r3", "r4", "r5", "r6", "r9")
    kept(running=["r1"])
    # r9 is of another ledger.
    assert names_of(environment.paths.values) == [
        f"{name}.json" for name in ("generated", "r1", "r3", "r4", "r5", "r9")
    ]


def test_a_file_of_values_that_was_half_written_is_removed_later(environment: Any, released: Any, kept: Any) -> None:
    released("1")
    with_values(environment, "r1")
    fresh, old = (environment.paths.values / f".r1.json.{name}" for name in ("fresh", "old"))
    for path in (fresh, old):
        path.write_text('{"KEY": "wren-and')
    os.utime(old, (time.time() - 4_000,) * 2)
    kept()
    assert names_of(environment.paths.values) == [".r1.json.fresh", "r1.json"]


def test_an_empty_ledger_removes_no_variables(environment: Any, kept: Any) -> None:
    """It may have been lost, and what runs is about to be taken into it."""
    with_values(environment, "r1")
    kept()
    assert has_values(environment.paths.values, "r1")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DeploykitError("no engine answers"), "no engine answers"),
        (KeyError("Id"), "old artefacts were not removed: KeyError: 'Id'"),
    ],
)
def test_what_goes_wrong_is_a_sentence(environment: Any, error: Exception, told: str) -> None:
    environment.hosting = Hosting(shared=True, error=error)
    environment.target = SimpleNamespace(instances=tuple)
    assert prune(environment) == Reaped(problems=(told,))


def test_old_artefacts_of_this_machine_are_removed_and_those_of_other_environments_stay(environment: Any) -> None:
    store = environment.paths.artifacts
    digests = {name: name * 64 for name in "abc"}
    for digest in digests.values():
        folder = store / "artifacts" / digest
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(f'{{"environment": "of-{digest[0]}"}}')
        (store / "environments" / f"of-{digest[0]}").mkdir(parents=True)
        os.utime(folder, (1, 1))
    # Neither keep() nor prune() starts anything.
    hosting = LocalHosting(environment.paths, None, None, Cancellation())  # type: ignore[arg-type]
    elsewhere = SimpleNamespace(**{name: getattr(environment.paths, name) for name in ("artifacts", "app")})
    elsewhere.environment = "staging"
    LocalHosting(elsewhere, None, None, Cancellation()).keep(f"sha256:{digests['b']}")  # type: ignore[arg-type]
    assert hosting.prune({f"sha256:{digests['a']}"}) == [
        f"artefact sha256:{'c' * 12} was removed: no release that can be gone back to has it"
    ]
    assert names_of(store / "artifacts") == [digests["a"], digests["b"]]
    assert names_of(store / "environments") == ["of-a", "of-b"]
