"""An image that is built beside the first stages: when it may begin, and who waits for what."""

from __future__ import annotations

import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from deploykit.artifacts.image.engine import Docker
from deploykit.model import UsageError
from deploykit.release.places.image_ahead import ImageAhead, Questions
from deploykit.release.surroundings import open_surroundings

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
def begun(monkeypatch: pytest.MonkeyPatch) -> Any:
    found = Docker(program="docker", builder="engine", client="27", server="27", platform="linux/amd64", environ={})
    monkeypatch.setattr("deploykit.artifacts.image.engine.find_docker", lambda **_: found)
    made: list[ImageAhead] = []
    passed = threading.Event()

    def build(_tree: object, _docker: object, _python: object, gate: Gate) -> str:
        gate.wait()
        gate.leave()
        passed.set()
        return "image"

    def begin(root: Path, *, early: bool) -> tuple[ImageAhead, threading.Event]:
        made.append(ImageAhead(Questions(root, ""), build, api=None, early=early))  # type: ignore[arg-type]
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


@pytest.fixture
def asked(tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Questions | None]:
    """What is asked ahead in `repo` for an environment, after a release of it to a place that was noted."""
    home = tmp_path / ".state"
    monkeypatch.setenv("DEPLOYKIT_STATE_DIR", str(home))
    (repo / "pyproject.toml").write_text(
        '[tool.deploykit]\napp = "shop"\n[tool.deploykit.service]\ncommand = "serve {port}"\n'
        '[tool.deploykit.environments.near]\ntarget = "process"\n'
        '[tool.deploykit.environments.far]\ntarget = "docker"\nhost = "ssh://ann@far"\nport = 80\n'
    )
    monkeypatch.setattr("deploykit.artifacts.image.engine.find_docker", lambda **given: given["environ"])

    def ask(name: str, **given: bool) -> Questions | None:
        return open_surroundings(repo, name, sources=True, **given).asked

    for name in ("near", "far"):
        assert ask(name, building=True) is None, "nobody has released from here yet"
        open_surroundings(repo, name).remember_root()
    return ask


def test_what_a_build_has_to_know_is_asked_where_the_last_release_went_to_an_engine(
    repo: Path, asked: Callable[..., Questions | None]
) -> None:
    questions = asked("far", building=True)
    assert questions is not None
    assert questions.docker.get()["DOCKER_HOST"] == "ssh://ann@far"  # type: ignore[index]
    assert questions.tree.get().root == repo
    assert asked("near", building=True) is None
    assert asked("far") is None


def test_an_environment_that_is_none_is_refused_as_ever(asked: Callable[..., Questions | None], tmp_path: Path) -> None:
    before = sorted((tmp_path / ".state").rglob("*"))
    for name in ("nowhere", "../far", ".", "..", "/", str(tmp_path), "x" * 5000):
        with pytest.raises(UsageError, match="environment"):
            asked(name, building=True)
    assert sorted((tmp_path / ".state").rglob("*")) == before, "nothing is kept where nothing was released"
    assert not (tmp_path / "settings.json").exists()
