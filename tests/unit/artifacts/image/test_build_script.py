"""The script that runs in a build, tested outside of one with a fake pip."""

from __future__ import annotations

import importlib.util
import marshal
from typing import TYPE_CHECKING

import pytest

from deploykit.artifacts.image import build_script

if TYPE_CHECKING:
    from pathlib import Path

PIP = """#!/bin/sh
echo "$@" >> "{log}"
for word; do last=$word; if [ "$before" = --target ]; then target=$word; fi; before=$word; done
case "$*" in *"{fails}"*) exit 1;; esac
if [ -n "$target" ]; then
  mkdir -p "$target/bin" "$target/shop"
  printf '#!{tools}/bin/python3\\nprint(1)\\n' > "$target/bin/shop"
  printf '#!/bin/sh\\n' > "$target/bin/other"
  cp "$source"/shop/*.py "$target/shop/" 2>/dev/null
  echo 'version = "1"' > "$target/shop/_version.py"
fi
"""


@pytest.fixture
def tools(tmp_path: Path):
    def make(fails: str = "never") -> Path:
        folder = tmp_path / "tools"
        (folder / "bin").mkdir(parents=True)
        pip = folder / "bin" / "pip"
        pip.write_text(PIP.format(log=tmp_path / "pip.log", fails=fails, tools=folder))
        pip.chmod(0o755)
        return folder

    return make


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "made" / "app"
    given = folder / ".deploykit" / "dependencies"
    given.mkdir(parents=True)
    (given / "project").touch()
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").write_text("A = 1\n")
    (folder / "tests").mkdir()
    (folder / "tests" / "test_a.py").write_text("x = 1\n")
    return folder


def log(tmp_path: Path) -> list[str]:
    path = tmp_path / "pip.log"
    return path.read_text().splitlines() if path.exists() else []


def test_the_project_is_installed_and_the_tree_made_complete(tmp_path: Path, app: Path, tools):
    site = tmp_path / "made" / "opt" / "site"
    assert build_script.application(app, site, tools(), tmp_path / "venv" / "python") == 0
    assert len(log(tmp_path)) == 1
    assert log(tmp_path)[0].endswith("--no-build-isolation")
    assert (site / "bin" / "shop").read_text().startswith(f"#!{tmp_path}/venv/python\n")
    assert (site / "bin" / "other").read_text() == "#!/bin/sh\n"
    assert (app / "shop" / "_version.py").exists()
    assert not (app / ".deploykit").exists()
    compiled = importlib.util.cache_from_source(str(app / "shop" / "__init__.py"))
    assert (app / compiled).exists()
    assert not list((app / "tests").glob("__pycache__"))
    assert {path.lstat().st_mtime for path in (tmp_path / "made").rglob("*")} == {build_script.EPOCH}


def test_a_backend_that_wants_more_is_built_in_isolation(tmp_path: Path, app: Path, tools):
    site = tmp_path / "made" / "opt" / "site"
    assert build_script.application(app, site, tools("--no-build-isolation"), tmp_path / "python") == 0
    assert len(log(tmp_path)) == 2


def test_a_project_that_can_not_be_built_fails(tmp_path: Path, app: Path, tools):
    assert build_script.application(app, tmp_path / "made" / "opt" / "site", tools("install"), tmp_path / "python") == 1


def test_a_tree_that_is_no_package_is_only_compiled(tmp_path: Path, app: Path, tools):
    (app / ".deploykit" / "dependencies" / "project").unlink()
    assert build_script.application(app, tmp_path / "made" / "opt" / "site", tools(), tmp_path / "python") == 0
    assert log(tmp_path) == []


def test_dependencies_are_installed_with_hashes_and_moved(tmp_path: Path, tools):
    given, venv, made = tmp_path / "given", tmp_path / "venv", tmp_path / "installed" / "opt" / "venv"
    (venv / "lib").mkdir(parents=True)
    (venv / "lib64").symlink_to("lib")
    (venv / "lib" / "module.py").write_text("A = 1\n")
    given.mkdir()
    (given / "requirements.txt").write_text("--no-index\na==1 --hash=sha256:00\n")
    (given / "requirements.txt.hashed").touch()
    (given / "build.txt").write_text("# nothing\n")
    assert build_script.dependencies(given, venv, tools(), made) == 0
    assert len(log(tmp_path)) == 1
    assert "--require-hashes" in log(tmp_path)[0]
    assert made.joinpath("lib64").is_symlink()
    pyc = next(made.rglob("*.pyc")).read_bytes()
    assert pyc[4:8] == b"\x01\x00\x00\x00"  # PEP 552: by hash, and never checked
    assert marshal.loads(pyc[16:]).co_filename.endswith("module.py")
    assert (tmp_path / "installed" / "app").stat().st_mtime == build_script.EPOCH


def test_nothing_to_install_calls_no_pip(tmp_path: Path, tools):
    given, venv = tmp_path / "given", tmp_path / "venv"
    venv.mkdir()
    given.mkdir()
    (given / "requirements.txt").write_text("")
    (given / "build.txt").write_text("")
    assert build_script.dependencies(given, venv, tools(), tmp_path / "installed" / "opt" / "venv") == 0
    assert log(tmp_path) == []
