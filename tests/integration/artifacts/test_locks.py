"""Which requirements an environment is made of, read by the real uv. Nothing here needs a package index."""

from __future__ import annotations

import subprocess

import pytest

from deploykit.model import DeploykitError, UsageError
from deploykit.process.uv import find_uv


@pytest.fixture
def app(repo, make_wheel):
    """No package, one program; the wheels `prices` 1.0 and 2.0 lie in the repository."""
    for number in ("1.0", "2.0"):
        make_wheel(repo.root / "wheels", "prices", number, f"PRICE = {number}\n")
    repo.write("app.py", "import prices\nprint(prices.PRICE)\n")
    repo.commit()
    return repo


def uv(folder, *words):
    subprocess.run([find_uv(), *words], cwd=folder, check=True, capture_output=True, timeout=60)


def test_requirements_without_hashes_are_resolved_once_and_kept(app, build, make_wheel, run_in):
    app.write("requirements.txt", "--no-index\n--find-links wheels\nprices\n")
    steps = []
    first = build(app, steps=steps)
    assert run_in(first, "python", "app.py") == "2.0"
    assert "requirements.txt does not pin everything by hash" in steps[1].note
    assert any("does not pin everything by hash" in note for note in first.notes)
    assert "prices==2.0" in first.lock.read_text()
    assert "--hash=sha256:" in first.lock.read_text()
    make_wheel(app.root / "wheels", "prices", "3.0", "PRICE = 3.0\n")
    second = build(app)
    assert second.digest != first.digest
    assert second.environment == first.environment
    assert run_in(second, "python", "app.py") == "2.0"


def test_constraints_limit_what_is_resolved(app, build, run_in):
    app.write("limits.txt", "prices<2\n")
    app.write("requirements.txt", "--no-index\n-f wheels\nprices\n-c limits.txt\n")
    assert run_in(build(app), "python", "app.py") == "1.0"


def test_the_projects_dependencies_are_what_is_left_when_there_is_no_lock(app, build, run_in, monkeypatch):
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(app.root / "wheels"))
    app.write("pyproject.toml", '[project]\nname = "app"\nversion = "1"\ndependencies = ["prices==1.0"]\n')
    artifact = build(app)
    assert run_in(artifact, "python", "app.py") == "1.0"
    assert artifact.site is None


def test_dependencies_that_only_a_build_knows_are_refused_with_the_command_that_locks_them(app, build):
    app.write("pyproject.toml", '[project]\nname = "app"\nversion = "1"\ndynamic = ["dependencies"]\n')
    with pytest.raises(UsageError, match="dynamic") as caught:
        build(app)
    assert "uv pip compile" in caught.value.next_step


def test_a_tree_without_requirements_gets_a_bare_python(repo, build, run_in):
    steps = []
    artifact = build(repo, steps=steps)
    assert run_in(artifact, "python", "-c", "print('runs')") == "runs"
    assert "no requirements found" in steps[1].note
    assert artifact.lock.read_text() == ""


def test_what_can_not_be_resolved_is_said_in_uvs_words(app, build):
    app.write("requirements.txt", "--no-index\n--find-links wheels\nprices==9\n")
    with pytest.raises(DeploykitError, match=r"resolving requirements\.txt failed") as caught:
        build(app)
    assert any("prices==9" in line for line in caught.value.details)


@pytest.mark.parametrize("editable", ["", "-e "])
def test_a_library_of_the_repository_is_installed_by_copy(app, build, run_in, store, editable):
    app.write("libs/common/pyproject.toml", BACKEND_TABLE)
    app.write("libs/common/backend.py", LIBRARY_BACKEND)
    app.write("libs/common/common.py", "NAME = 'one'\n")
    app.write("requirements.txt", f"--no-index\n{editable}./libs/common\n")
    app.write("app.py", "import common\nprint(common.NAME, common.__file__)\n")
    first = build(app)
    name, where = run_in(first, "python", "app.py").split()
    assert name == "one"
    assert where.startswith(str(first.environment))
    app.write("libs/common/common.py", "NAME = 'two'\n")
    second = build(app)
    assert second.environment != first.environment
    assert run_in(second, "python", "app.py").split()[0] == "two"
    assert run_in(first, "python", "app.py").split()[0] == "one"


BACKEND_TABLE = (
    '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    '[project]\nname = "common"\nversion = "1"\n'
)
LIBRARY_BACKEND = """
import zipfile
from pathlib import Path

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = "common-1-py3-none-any.whl"
    with zipfile.ZipFile(Path(wheel_directory, name), "w") as archive:
        archive.writestr("common.py", Path("common.py").read_bytes())
        archive.writestr("common-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: common\\nVersion: 1\\n")
        archive.writestr("common-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr("common-1.dist-info/RECORD", "")
    return name
"""


@pytest.fixture
def locked_by_uv(app):
    app.write(
        "pyproject.toml",
        '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["prices<2"]\n'
        '[dependency-groups]\ndev = ["prices"]\n'
        '[tool.uv]\nno-index = true\nfind-links = ["wheels"]\npackage = false\n',
    )
    app.write(".gitignore", ".venv/\n")
    uv(app.root, "lock")
    return app


def test_a_uv_lock_is_installed_as_it_is(locked_by_uv, build, run_in):
    steps = []
    artifact = build(locked_by_uv, steps=steps)
    assert run_in(artifact, "python", "app.py") == "1.0"
    assert "locked by uv.lock" in steps[1].note
    assert artifact.notes == ()


def test_a_pylock_is_installed_as_it_is(locked_by_uv, build, run_in):
    uv(locked_by_uv.root, "export", "--format", "pylock.toml", "--no-dev", "--output-file", "pylock.toml")
    (locked_by_uv.root / "uv.lock").unlink()
    steps = []
    artifact = build(locked_by_uv, steps=steps)
    assert run_in(artifact, "python", "app.py") == "1.0"
    assert "locked by pylock.toml" in steps[1].note
