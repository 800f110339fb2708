"""An image that is begun by the recipe of the release before: when that counts, and when it does not."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deploykit.artifacts.git import read_tree
from deploykit.artifacts.image.engine import Docker
from deploykit.artifacts.image.failures import DiskFull
from deploykit.artifacts.image.image import Image, Recipe
from deploykit.release.places import image_beside
from deploykit.release.places.image_beside import ImageBeside, Wanted, begin_beside, recall_wanted, remember_wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deploykit.artifacts.git import GitTree
    from deploykit.process.ahead import Gate

# As in test_beside.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

IMAGE = Image(id="sha256:1", digest="sha256:1", tags=(), version="1", platform="linux/amd64", size=1, created=0.0)


def git(root: Path, *words: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *who, *words], cwd=root, check=True, timeout=30)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    root.mkdir()
    (root / "pyproject.toml").write_text("[tool.deploykit]\n")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "one")
    return root


@pytest.fixture
def docker(tmp_path: Path) -> Docker:
    program = tmp_path / "docker"
    program.write_text("one")
    environ = {"TOKEN": "correct-horse"}
    return Docker(
        program=str(program), builder="engine", client="27", server="27", platform="linux/amd64", environ=environ
    )


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    recipe = Recipe(app="shop", argv=("serve", "{port}"), arguments={"A": "b"})
    return Wanted(recipe=recipe, main_branch="main", short_tags=True, kept=tmp_path / "kept")


@pytest.fixture
def folder(tmp_path: Path, repo: Path, wanted: Wanted, docker: Docker) -> Path:
    """An environment's, after a release."""
    made = tmp_path / "state"
    made.mkdir()
    remember_wanted(made, repo, wanted, docker)
    return made


@pytest.fixture
def begun(folder: Path, repo: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ImageBeside]]:
    """Begin with it; `build` is what is done in place of a build, in the other process."""
    made: list[ImageBeside] = []

    def begin(build: Callable[..., Image] = lambda *_: IMAGE) -> ImageBeside:
        def act(_wanted: Wanted, tree: GitTree, docker: Docker, *, gate: Gate) -> Image:
            gate.wait()
            return build(tree, docker)

        monkeypatch.setattr(image_beside, "build_wanted", act)
        monkeypatch.setattr(image_beside, "can_fork", lambda: True)
        found = begin_beside(folder, repo, "")
        assert found is not None
        made.append(found)
        return found

    yield begin
    for each in made:
        each.close()


def test_what_is_noted_is_found_again_and_holds_nothing_of_the_surroundings(
    folder: Path, repo: Path, wanted: Wanted, docker: Docker
) -> None:
    assert recall_wanted(folder, repo) == (wanted, replace(docker, environ={}))
    assert "correct-horse" not in (folder / "image.json").read_text()
    assert [path.name for path in folder.iterdir()] == ["image.json"]


def test_the_same_is_not_noted_twice(folder: Path, repo: Path, wanted: Wanted, docker: Docker) -> None:
    before = (folder / "image.json").stat()
    remember_wanted(folder, repo, wanted, docker)
    assert (folder / "image.json").stat() == before
    remember_wanted(folder, repo, replace(wanted, short_tags=False), docker)
    assert recall_wanted(folder, repo) == (replace(wanted, short_tags=False), replace(docker, environ={}))


def test_where_nothing_can_be_noted_nothing_is_lost(
    folder: Path, repo: Path, wanted: Wanted, docker: Docker, tmp_path: Path
) -> None:
    remember_wanted(tmp_path / "nowhere", repo, wanted, docker)
    assert not (tmp_path / "nowhere").exists()
    (repo / "pyproject.toml").unlink()
    remember_wanted(folder, repo, replace(wanted, short_tags=False), docker)
    assert recall_wanted(folder, repo) is None


def _lacks_a_key(folder: Path, _repo: Path, _docker: Docker) -> None:
    said = json.loads((folder / "image.json").read_text())
    del said["wanted"]["recipe"]["app"]
    (folder / "image.json").write_text(json.dumps(said))


CHANGES: dict[str, Callable[[Path, Path, Docker], Any]] = {
    "other settings": lambda _folder, repo, _docker: (repo / "pyproject.toml").write_text("[tool.deploykit]\n#\n"),
    "no settings": lambda _folder, repo, _docker: (repo / "pyproject.toml").unlink(),
    "another command": lambda _folder, _repo, docker: Path(docker.program).write_text("another"),
    "no command": lambda _folder, _repo, docker: Path(docker.program).unlink(),
    "nothing noted": lambda folder, _repo, _docker: (folder / "image.json").unlink(),
    "half of it": lambda folder, _repo, _docker: (folder / "image.json").write_text('{"settings": "'),
    "something else": lambda folder, _repo, _docker: (folder / "image.json").write_text("[]"),
    "a key is missing": _lacks_a_key,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_is_no_longer_so_is_not_known(
    folder: Path, repo: Path, docker: Docker, change: Callable[[Path, Path, Docker], Any]
) -> None:
    change(folder, repo, docker)
    assert recall_wanted(folder, repo) is None


def test_over_ssh_and_with_threads_nothing_is_begun(folder: Path, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_beside, "can_fork", lambda: True)
    assert begin_beside(folder, repo, "ssh://ann@far") is None
    monkeypatch.setattr(image_beside, "can_fork", lambda: False)
    assert begin_beside(folder, repo, "") is None


def test_the_image_of_a_committed_tree_is_made_without_a_word(
    begun: Callable[..., ImageBeside], repo: Path, wanted: Wanted, docker: Docker, tmp_path: Path
) -> None:
    built = tmp_path / "built"

    def build(_tree: GitTree, docker: Docker) -> Image:
        built.write_text(docker.environ["PATH"])
        return IMAGE

    ahead = begun(build)
    assert ahead.tree() == read_tree(repo)
    assert ahead._hear("image") == IMAGE
    assert built.read_text()
    assert ahead.image(read_tree(repo)) == IMAGE
    assert ahead.makes(wanted)
    assert not ahead.makes(replace(wanted, recipe=replace(wanted.recipe, port=1)))
    assert replace(ahead.docker(), environ={}) == replace(docker, environ={})


def test_that_of_another_tree_waits_until_it_may_be_made(
    begun: Callable[..., ImageBeside], repo: Path, tmp_path: Path
) -> None:
    (repo / "new.py").write_text("1\n")
    built = tmp_path / "built"

    def build(*_: object) -> Image:
        built.touch()
        return IMAGE

    ahead = begun(build)
    tree = ahead.tree()
    assert tree is not None
    assert tree.dirty
    assert not built.exists()
    assert ahead.image(tree) == IMAGE


def test_it_does_not_count_for_a_tree_that_was_read_later(begun: Callable[..., ImageBeside], repo: Path) -> None:
    ahead = begun()
    assert ahead.tree() is not None
    git(repo, "commit", "-q", "--allow-empty", "-m", "two")
    assert ahead.image(read_tree(repo)) is None


def test_a_build_that_fails_is_told_as_if_it_had_failed_here_and_the_next_one_is_as_ever(
    begun: Callable[..., ImageBeside], repo: Path, folder: Path
) -> None:
    def build(*_: object) -> Image:
        raise DiskFull("the disk was full", details=["no space left"], next_step="docker builder prune")

    ahead = begun(build)
    with pytest.raises(DiskFull) as caught:
        ahead.image(read_tree(repo))
    assert (caught.value.message, caught.value.details) == ("the disk was full", ("no space left",))
    assert caught.value.next_step == "docker builder prune"
    assert recall_wanted(folder, repo) is None


def test_what_nobody_foresaw_there_is_as_if_it_had_not_been_tried(
    begun: Callable[..., ImageBeside], repo: Path, folder: Path
) -> None:
    def build(*_: object) -> Image:
        raise RuntimeError("a mistake of the kit")

    assert begun(build).image(read_tree(repo)) is None
    assert recall_wanted(folder, repo) is not None
    shutil.rmtree(repo / ".git")
    assert begun().tree() is None
