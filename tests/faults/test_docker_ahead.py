"""The image that is begun by the recipe of the release before, in a process of its own: when it is, and how that ends."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from docker_images import images  # noqa: F401 - for each test
from harness import KEPT_WARM, Load, Machine, eventually, get, new_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness import Ran, World

BESIDE = "deploykit.release.places.image_beside:build_wanted"
HERE = "deploykit.release.places.docker:build_wanted"


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    made = Machine(new_state())
    yield made
    made.close()


@pytest.fixture
def world(machine: Machine, tmp_path: Path) -> Iterator[World]:
    with machine.world(tmp_path / "tiny", target="docker") as made:
        made.settings(warm_for=KEPT_WARM)
        made.release("zero")
        yield made


@pytest.fixture
def built(world: World, tmp_path: Path) -> tuple[Path, Path]:
    """Files that are there when an image was built: beside the command, and by the command itself."""
    return tmp_path / "beside", tmp_path / "here"


def release(world: World, built: tuple[Path, Path], text: str) -> Ran:
    for each in built:
        each.unlink(missing_ok=True)
    world.behave(text)
    pauses = [
        {"where": where, "seconds": 0, "ready": str(noted)} for where, noted in zip((BESIDE, HERE), built, strict=True)
    ]
    return world.ok("release", pauses=pauses)


def at_work(folder: Path) -> set[str]:
    """The processes that work in that folder."""
    found = set()
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (each / "cwd").readlink() == folder:
                found.add(each.name)
    return found


def test_with_the_same_settings_it_is_built_beside_the_command_and_with_others_by_it(
    world: World, built: tuple[Path, Path]
) -> None:
    release(world, built, "one")
    assert [each.exists() for each in built] == [True, False]
    world.settings(warm_for=KEPT_WARM, stop_timeout=7)
    release(world, built, "two")
    assert [each.exists() for each in built] == [False, True]
    release(world, built, "three")
    assert [each.exists() for each in built] == [True, False]
    assert get(world.url) == "three"
    assert at_work(world.repo) == set()


def test_with_the_same_settings_and_another_recipe_what_was_built_beside_is_not_taken(
    world: World, built: tuple[Path, Path]
) -> None:
    """A lock is found in the repository, and named in no setting."""
    release(world, built, "one")
    (world.repo / "requirements.txt").rename(world.repo / "requirements.lock")
    release(world, built, "two")
    assert [each.exists() for each in built] == [True, True]
    assert get(world.url) == "two"
    assert world.problems() == []


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM"])
def test_it_ends_with_a_release_that_is_ended(world: World, how: str) -> None:
    world.behave("one")
    with Load(world.url, clients=2) as load:
        ran = world("release", pauses=[{"where": BESIDE, "seconds": 60.0}], signal={"how": how})
        eventually(lambda: not at_work(world.repo), within=20, why="what was begun beside goes on")
        load.next_answers()
        assert ran.returncode != 0
        assert get(world.url) == "zero"
        world.ok("release")
        load.next_answers()
    load.assert_nothing_lost()
    assert get(world.url) == "one"
    assert world.problems() == []


def test_it_ends_with_a_release_that_is_refused(world: World) -> None:
    """Somebody holds the lock: whatever was begun meanwhile is given up."""
    world.ok("lock", "--reason", "no")
    world.behave("one")
    ran = world("release", pauses=[{"where": BESIDE, "seconds": 60.0}])
    assert ran.returncode != 0
    assert at_work(world.repo) == set()
    world.ok("unlock")
    world.ok("release")
    assert get(world.url) == "one"
    assert world.problems() == []
