"""An image that is built beside the first stages: when it may begin, and who waits for what."""

from __future__ import annotations

import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from deploykit.release.places.image_ahead import ImageAhead

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from deploykit.process.ahead import Gate


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    for words in (
        ("init", "-q"),
        ("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "--allow-empty", "-m", "one"),
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, timeout=30)
    return tmp_path


@pytest.fixture
def begun() -> Any:
    made: list[ImageAhead] = []
    passed = threading.Event()

    def build(_tree: object, _docker: object, _python: object, gate: Gate) -> str:
        gate.wait()
        gate.leave()
        passed.set()
        return "image"

    def begin(root: Path, *, early: bool) -> tuple[ImageAhead, threading.Event]:
        made.append(ImageAhead(root, lambda: None, build, early=early))  # type: ignore[arg-type,return-value]
        return made[-1], passed

    yield begin
    for each in made:
        each.close()


def test_a_committed_tree_is_built_at_once_where_a_release_was_made(repo: Path, begun: Callable[..., Any]) -> None:
    ahead, passed = begun(repo, early=True)
    ahead.underway(20)
    assert passed.wait(20)
    assert ahead.image(ahead.tree()) == "image"


@pytest.mark.parametrize(("early", "dirty"), [(False, False), (True, True)], ids=["first release", "not committed"])
def test_else_it_waits_for_the_lock(repo: Path, begun: Callable[..., Any], early: bool, dirty: bool) -> None:
    if dirty:
        (repo / "new.py").write_text("1\n")
    ahead, passed = begun(repo, early=early)
    ahead.underway(0.2)
    assert not passed.is_set()
    ahead.open()
    assert passed.wait(20)


def test_what_goes_wrong_before_is_not_waited_for(tmp_path: Path, begun: Callable[..., Any]) -> None:
    ahead, passed = begun(tmp_path, early=True)  # no repository
    ahead.underway(20)
    assert not passed.is_set()
