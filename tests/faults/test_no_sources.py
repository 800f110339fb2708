"""What runs is an artefact: the checkout overwritten, deleted, gone; everything comes back, and goes back."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from harness import KEPT_WARM, Load, eventually

from deploykit.process.supervisor.client import Supervisor

if TYPE_CHECKING:
    from pathlib import Path

    from harness import ReleasedService


def kill_app(released: ReleasedService, name: str) -> None:
    client = Supervisor(released.paths.supervisor)
    status = client.status(name)
    assert status is not None
    assert status.pid is not None
    old = status.pid
    os.kill(old, signal.SIGKILL)

    def back() -> bool:
        now = client.status(name)
        return now is not None and now.pid not in {None, old}

    eventually(back)


@pytest.fixture
def gone(tiny: ReleasedService) -> ReleasedService:
    """Two releases, the second live; then the sources were overwritten, and then deleted."""
    tiny.settings(warm_for=KEPT_WARM)
    tiny.release("old behaviour")
    tiny.release("new behaviour")
    assert tiny.serves(tiny.url) == "new behaviour"
    for path in tiny.repo.glob("*.py"):
        path.write_text("raise SystemExit('this is not what was released')\n")
    kill_app(tiny, "r2-web-0")
    eventually(lambda: tiny.serves(tiny.url) == "new behaviour", why="it did not come back from its artefact")
    shutil.rmtree(tiny.repo)
    tiny.repo.mkdir()
    return tiny


def test_an_app_that_is_killed_comes_back_with_its_behaviour(gone: ReleasedService) -> None:
    kill_app(gone, "r2-web-0")
    eventually(lambda: gone.serves(gone.url) == "new behaviour")
    assert gone.problems() == []


def test_a_rollback_in_the_emptied_folder_brings_the_old_behaviour_back(gone: ReleasedService) -> None:
    with Load(gone.url) as load:
        ran = gone.ok("rollback")
        load.next_answers()
    load.assert_nothing_lost()
    assert "is live in local" in ran.output
    assert gone.serves(gone.url) == "old behaviour"
    kill_app(gone, "r1-web-0")
    eventually(lambda: gone.serves(gone.url) == "old behaviour")
    assert gone.problems() == []


def test_a_rollback_from_elsewhere_brings_the_old_behaviour_back(gone: ReleasedService, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(gone.repo)
    there = replace(gone, repo=elsewhere)
    refused = there("rollback")
    assert refused.returncode == 3
    assert gone.app in refused.text
    assert "next: add --app" in refused.text
    there.ok("rollback", "--app", gone.app)
    assert gone.serves(gone.url) == "old behaviour"


def test_a_version_whose_instances_are_gone_is_started_again_from_its_artefact(gone: ReleasedService) -> None:
    assert gone("down").returncode == 0
    assert gone.serves(gone.url) == "ConnectionRefusedError"
    ran = gone.ok("rollback")
    assert gone.serves(gone.url) == "old behaviour", ran.output
    assert [item["name"] for item in gone.instances()] == ["r1-web-0"]
    assert gone.problems() == []


def test_a_release_without_sources_says_what_can_be_done_and_changes_nothing(gone: ReleasedService) -> None:
    refused = gone("release")
    assert refused.returncode == 3
    assert "there is no repository in" in refused.output
    assert "invoke rollback --env local" in refused.text
    assert gone.serves(gone.url) == "new behaviour"
    assert gone.problems() == []
