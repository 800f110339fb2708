"""Tools' environments and the project's: what is installed, in which order, and that it is made once."""

from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path

import pytest

from deploykit.gates.project_environment import (
    ProjectNeeds,
    fill_project_environment,
    install_steps,
    project_key,
)
from deploykit.gates.requirements import read_lock
from deploykit.gates.tools import FAMILIES, cache_home, create_once, environment_key, family_of, lock_of
from deploykit.model import InconclusiveError


@pytest.mark.parametrize("family", FAMILIES)
def test_every_familys_lock_is_pinned_hashed_and_without_addresses(family):
    lock = read_lock(lock_of(family))
    assert lock.is_pinned
    assert lock.is_hashed
    assert "://" not in lock_of(family).read_text()
    assert family in {pin.name for pin in lock.pins}


def test_a_tool_is_found_in_its_family():
    assert family_of("lint-imports") == "import-linter"
    with pytest.raises(KeyError):
        family_of("black")


def test_the_cache_is_where_xdg_says(tmp_path):
    assert cache_home({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "deploykit"
    assert cache_home({}) == Path.home() / ".cache" / "deploykit"


def test_keys_tell_their_parts_apart():
    assert environment_key("ab", "c") != environment_key("a", "bc")


def _make_slowly(folder: Path) -> None:
    def fill(target: Path) -> None:
        (target / "bin").mkdir(parents=True)
        with (folder.parent / "made").open("a") as stream:
            stream.write("x")
        time.sleep(0.05)
        (target / "bin" / "python").touch()

    create_once(folder, fill)


def test_several_processes_make_an_environment_once(tmp_path):
    processes = [multiprocessing.Process(target=_make_slowly, args=(tmp_path / "env",)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert (tmp_path / "made").read_text() == "x"


def test_a_half_made_environment_is_made_afresh(tmp_path):
    (tmp_path / "env" / "bin").mkdir(parents=True)
    (tmp_path / "env" / "rubbish").touch()
    _make_slowly(tmp_path / "env")
    assert not (tmp_path / "env" / "rubbish").exists()


def test_a_failure_leaves_nothing_that_counts_as_made(tmp_path):
    def fail(target: Path) -> None:
        (target / "bin").mkdir(parents=True)
        (target / "bin" / "python").touch()
        raise InconclusiveError("no network")

    with pytest.raises(InconclusiveError, match="no network"):
        create_once(tmp_path / "env", fail)
    _make_slowly(tmp_path / "env")
    assert (tmp_path / "made").read_text() == "x"


def test_a_cache_that_can_not_be_written_is_inconclusive(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InconclusiveError, match="can't be made"):
        create_once(tmp_path / "file" / "env", lambda _target: None)


def steps(root, needs, *, groups=True):
    return install_steps(root, needs, understands_groups=groups)


def test_locks_come_together_and_before_the_project(tmp_path):
    (tmp_path / "app.lock").touch()
    (tmp_path / "test.lock").touch()
    (tmp_path / "pyproject.toml").write_text("[build-system]\nrequires = []\n[project]\nname = 'x'\n")
    needs = ProjectNeeds(locks=("app.lock", "test.lock"), groups=("dev",), extras=("a", "b"))
    assert steps(tmp_path, needs) == [
        ["-r", str(tmp_path / "app.lock"), "-r", str(tmp_path / "test.lock")],
        ["-e", f"{tmp_path}[a,b]", "--group", "dev"],
    ]


def test_a_project_that_is_no_package_gives_its_dependencies(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        "[project]\nname = 'x'\ndependencies = ['flask']\n[project.optional-dependencies]\ntest = ['pytest']\n"
    )
    needs = ProjectNeeds(extras=("test",))
    assert steps(tmp_path, needs) == [["-r", str(tmp_path / "pyproject.toml"), "--extra=test"]]
    assert steps(tmp_path, needs, groups=False) == [["flask", "pytest"]]


def test_uv_may_say_that_a_project_is_no_package(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        "[build-system]\nrequires = []\n[dependency-groups]\ndev = []\n[tool.uv]\npackage = false\n"
    )
    assert steps(tmp_path, ProjectNeeds(groups=("dev",))) == [["--group", "dev"]]


def test_a_folder_without_a_project_needs_nothing(tmp_path):
    assert steps(tmp_path, ProjectNeeds()) == []


def test_a_lock_that_is_not_there_is_inconclusive(tmp_path):
    with pytest.raises(InconclusiveError, match=r"no lock gone\.lock"):
        steps(tmp_path, ProjectNeeds(locks=("gone.lock",)))


def test_a_project_that_can_not_be_read_is_inconclusive(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[")
    with pytest.raises(InconclusiveError, match=r"pyproject\.toml can't be read"):
        steps(tmp_path, ProjectNeeds())


def test_the_environment_is_made_anew_when_a_lock_or_the_project_changes(tmp_path):
    (tmp_path / "a.lock").write_text("x==1")
    needs = ProjectNeeds(locks=("a.lock",))
    first = project_key(tmp_path, needs, ("pytest",))
    assert first == project_key(tmp_path, needs, ("pytest",))
    (tmp_path / "a.lock").write_text("x==2")
    second = project_key(tmp_path, needs, ("pytest",))
    assert len({first, second, project_key(tmp_path, needs, ("pytest", "mypy"))}) == 3


class RecordingInstaller:
    understands_groups = True

    def __init__(self, python: Path) -> None:
        self.python = python
        self.calls: list[tuple[str, ...]] = []
        self.texts: list[str] = []

    def install(self, *words: str) -> None:
        self.calls.append(words)
        if words[-2] == "-r":
            self.texts.append(Path(words[-1]).read_text())


def test_what_the_project_brings_is_never_moved(tmp_path, toolbox):
    toolbox.says = {"-c": (json.dumps(["packaging", "Coverage", "flask"]), 0)}
    installer = RecordingInstaller(toolbox.python())
    fill_project_environment(installer, tmp_path, ProjectNeeds(), environment={}, families=("pytest",))
    ((*words, _),) = installer.calls
    assert words == ["--no-deps", "--require-hashes", "-r"]
    assert "pytest==" in installer.texts[0]
    assert "packaging==" not in installer.texts[0]
    assert "coverage==" not in installer.texts[0]


def test_a_project_that_brings_its_own_tools_gets_none(tmp_path, toolbox):
    toolbox.says = {"-c": (json.dumps(["pytest", "coverage"]), 0)}
    installer = RecordingInstaller(toolbox.python())
    fill_project_environment(installer, tmp_path, ProjectNeeds(), environment={}, families=("pytest",))
    assert installer.calls == []
