"""Which gates a change reaches: fewer only where it is sure."""

from __future__ import annotations

import subprocess

import pytest

from deploykit.gates.affected import affected_gates, kind_of
from deploykit.model import InconclusiveError

GATES = ("lint", "typing", "test", "coverage", "sast", "audit", "secrets", "image", "workflows")


def git(root, *words):
    owner = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(root), *owner, *words], check=True, capture_output=True)


@pytest.fixture
def repo(tmp_path):
    """A branch that has just left main."""
    root = tmp_path / "repo"
    for name, text in {
        "app.py": "VALUE = 1\n",
        "guide/start.md": "Hello.\n",
        "Dockerfile": "FROM scratch\n",
        ".github/workflows/a.yml": "on: push\n",
        "data.json": "{}\n",
        "tests/test_app.py": "def test_value():\n    assert True\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    git(root, "switch", "-qc", "branch")
    return root


@pytest.mark.parametrize(
    ("path", "gates"),
    [
        ("guide/start.md", {"lint", "secrets"}),
        ("Dockerfile", {"image", "secrets"}),
        (".github/workflows/a.yml", {"workflows", "secrets"}),
        ("app.py", {"lint", "typing", "test", "coverage", "sast", "secrets"}),
        ("new.py", {"lint", "typing", "test", "coverage", "sast", "secrets"}),
        ("data.json", set(GATES)),
        ("pyproject.toml", set(GATES)),
        ("requirements.txt", set(GATES)),
        ("tests/conftest.py", set(GATES)),
        ("setup.py", set(GATES)),
        ("Makefile", set(GATES)),
    ],
)
def test_a_change_asks_the_gates_that_it_can_reach(repo, path, gates):
    (repo / path).write_text("changed = 2\n")
    found = affected_gates(repo, "main", GATES)
    assert set(found.gates) == gates
    assert set(found.left_out) == set(GATES) - gates
    assert all(path in why for why in found.left_out.values())


def test_committed_uncommitted_and_deleted_files_count_together(repo):
    (repo / "guide/start.md").write_text("More.\n")
    git(repo, "commit", "-qam", "second")
    (repo / "Dockerfile").unlink()
    found = affected_gates(repo, "main", GATES)
    assert found.changed == ("Dockerfile", "guide/start.md")
    assert set(found.gates) == {"lint", "secrets", "image"}


def test_a_file_that_was_renamed_to_prose_is_still_the_code_that_is_gone(repo):
    git(repo, "mv", "app.py", "app.md")
    assert "test" in affected_gates(repo, "main", GATES).gates


@pytest.mark.parametrize(
    "code",
    [
        'open("guide/start.md")',
        'open("start" + ".md")',
        'print(*Path("guide").iterdir())',
        'for path in ROOT.rglob("*"): print(path)',
    ],
)
def test_prose_that_tests_could_read_reaches_the_tests(repo, code):
    (repo / "tests/test_app.py").write_text(code)
    git(repo, "commit", "-qam", "reads")
    git(repo, "branch", "-f", "main")
    (repo / "guide/start.md").write_text("More.\n")
    assert {"test", "coverage"} <= set(affected_gates(repo, "main", GATES).gates)


def test_a_change_beside_the_tree_in_the_same_repository_reaches_everything(repo):
    (repo / "part").mkdir()
    (repo / "app.py").write_text("VALUE = 2\n")
    assert affected_gates(repo / "part", "main", GATES).gates == GATES


def test_where_git_is_told_to_overlook_a_file_everything_is_asked(repo):
    git(repo, "update-index", "--assume-unchanged", "data.json")
    (repo / "guide/start.md").write_text("More.\n")
    assert affected_gates(repo, "main", GATES).gates == GATES


def test_no_change_is_inconclusive_since_nothing_would_be_looked_at(repo):
    with pytest.raises(InconclusiveError, match="nothing changed since main"):
        affected_gates(repo, "main", GATES)


def test_a_missing_base_is_inconclusive_with_the_command_that_mends_it(repo):
    with pytest.raises(InconclusiveError, match="no origin/main") as caught:
        affected_gates(repo, "origin/main", GATES)
    assert caught.value.next_step == "git fetch origin main"


def test_a_shallow_clone_is_inconclusive_with_the_command_that_mends_it(repo, tmp_path):
    (repo / "app.py").write_text("VALUE = 2\n")
    git(repo, "commit", "-qam", "second")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{repo}", clone], check=True)
    with pytest.raises(InconclusiveError) as caught:
        affected_gates(clone, "HEAD~1", GATES)
    assert caught.value.next_step == "git fetch --unshallow"


@pytest.mark.parametrize("path", ["README.txt", "a.ipynb", "x.PY", "../a.py", "a.lock", ".gitattributes", "tox.ini"])
def test_what_is_not_known_is_of_no_kind(path):
    assert kind_of(path) == ""
