from __future__ import annotations

import os
import subprocess

import pytest

from deploykit.gates.files import excluded, fingerprint, list_files, python_files, reject_overlooked
from deploykit.gates.lint import left_out_by_ruff
from deploykit.model import InconclusiveError


def test_new_files_count_and_ignored_and_deleted_ones_do_not(tree):
    subprocess.run(["git", "-C", tree, "add", "-A"], check=True)
    (tree / "gone.py").write_text("")
    subprocess.run(["git", "-C", tree, "add", "gone.py"], check=True)
    (tree / "gone.py").unlink()
    (tree / ".gitignore").write_text("ignored.py\n")
    (tree / "ignored.py").write_text("")
    (tree / "new ü.py").write_text("")
    assert list_files(tree).files == (".gitignore", "app.py", "new ü.py", "tests/test_app.py")


def test_links_are_not_followed_and_said(tree):
    (tree / "loop").symlink_to(tree)
    (tree / "link.py").symlink_to(tree / "app.py")
    listed = list_files(tree)
    assert "link.py" not in listed.files
    assert "symbolic links not followed: 2" in listed.notes


def test_another_repository_inside_is_said(tree):
    subprocess.run(["git", "init", "-q", tree / "inner"], check=True)
    (tree / "inner" / "a.py").write_text("")
    assert any("other repositories" in note for note in list_files(tree).notes)


def test_a_folder_below_the_top_lists_its_own_files(tree):
    assert list_files(tree / "tests").files == ("test_app.py",)


def test_a_repository_that_git_can_not_read_is_inconclusive(tree):
    (tree / ".git" / "HEAD").write_text("broken")
    (tree / ".git" / "config").write_text("[broken")
    with pytest.raises(InconclusiveError, match="could not list"):
        list_files(tree)


def test_outside_git_a_walk_leaves_environments_and_caches_out(tmp_path):
    for name in ("pkg/a.py", ".venv/lib/b.py", "env/pyvenv.cfg", "env/c.py", "node_modules/d.py", "__pycache__/e.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "link.py").symlink_to(tmp_path / "pkg" / "a.py")
    listed = list_files(tmp_path)
    assert listed.files == ("pkg/a.py",)
    assert listed.notes[0].startswith("no git")


def test_the_fingerprint_changes_with_any_file(tmp_path):
    (tmp_path / "a.py").write_text("1")
    first = fingerprint(tmp_path)
    (tmp_path / "a.py").write_text("2")
    second = fingerprint(tmp_path)
    (tmp_path / "b.txt").write_text("")
    assert len({first, second, fingerprint(tmp_path)}) == 3


@pytest.mark.parametrize(
    ("name", "patterns", "expected"),
    [
        ("tests/a.py", ("tests",), True),
        ("tests/a.py", ("tests/",), True),
        ("tests_too/a.py", ("tests",), False),
        ("pkg/generated_pb2.py", ("*_pb2.py",), True),
        ("pkg/a.py", ("pkg/a.py",), True),
        ("pkg/a.py", (), False),
    ],
)
def test_exclusions_are_files_folders_or_patterns(name, patterns, expected):
    assert excluded(name, patterns) is expected


def test_python_files_are_told_by_their_names():
    assert python_files(["a.py", "b.txt", "c.pyw"]) == ("a.py", "c.pyw")


def test_a_name_that_is_not_utf_8_is_not_taken_for_a_deleted_file(tree):
    (tree / os.fsdecode(b"caf\xe9.py")).write_text("password = 'x'\n")
    subprocess.run(["git", "-C", tree, "add", "-A"], check=True)
    with pytest.raises(InconclusiveError, match="1 file names are not UTF-8"):
        list_files(tree)


def test_without_git_a_name_that_is_not_utf_8_is_refused_as_well(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.py")).write_text("x\n")
    with pytest.raises(InconclusiveError, match="1 file names are not UTF-8"):
        list_files(tmp_path)


def test_a_sparse_checkout_has_not_every_file_of_its_tree(tree):
    git = ["git", "-C", str(tree), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "all"], check=True)
    subprocess.run([*git, "sparse-checkout", "set", "--no-cone", "/app.py"], check=True)
    assert not (tree / "tests").exists()
    with pytest.raises(InconclusiveError, match="1 files of the tree are not checked out") as refused:
        list_files(tree)
    assert refused.value.details == ("tests/test_app.py",)
    subprocess.run([*git, "sparse-checkout", "disable"], check=True)
    assert "tests/test_app.py" in list_files(tree).files


def _commit(tree):
    git = ["git", "-C", str(tree), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)


@pytest.mark.parametrize("mark", ["--assume-unchanged", "--skip-worktree"])
def test_a_file_that_git_overlooks_and_that_differs_is_inconclusive(tree, mark):
    _commit(tree)
    subprocess.run(["git", "-C", tree, "update-index", mark, "app.py"], check=True)
    reject_overlooked(tree)  # as git takes it for
    (tree / "app.py").write_text("VALUE = 2\n")
    with pytest.raises(InconclusiveError, match="1 files differ from what git takes them for") as caught:
        reject_overlooked(tree)
    subprocess.run(caught.value.next_step.split(), cwd=tree, check=True)
    reject_overlooked(tree)


def test_files_of_a_sparse_checkout_are_inconclusive_for_every_gate(tree):
    _commit(tree)
    subprocess.run(["git", "-C", tree, "update-index", "--skip-worktree", "app.py"], check=True)
    (tree / "app.py").unlink()
    with pytest.raises(InconclusiveError, match="1 files of the tree are not checked out"):
        reject_overlooked(tree)


def test_a_gate_that_lists_no_files_is_inconclusive_too(tree, toolbox):
    from deploykit.gates.run import run_gate
    from tests.unit.gates.test_verdict_cache import CLEAN

    _commit(tree)
    toolbox.says = dict(CLEAN)
    subprocess.run(["git", "-C", tree, "update-index", "--assume-unchanged", "app.py"], check=True)
    (tree / "app.py").write_text("VALUE = 2\n")
    verdict = run_gate("typing", tree, tree="a" * 40, make_toolbox=lambda *_: toolbox)
    assert "differ from what git takes them for" in verdict.reason


def test_a_pipe_in_the_place_of_a_file_is_inconclusive(tree):
    _commit(tree)
    (tree / "app.py").unlink()
    os.mkfifo(tree / "app.py")
    with pytest.raises(InconclusiveError, match=r"app\.py is no file, folder or link"):
        list_files(tree)


def test_what_a_walk_leaves_out_is_counted(tmp_path):
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "a.py").write_text("")
    os.mkfifo(tmp_path / "pipe")
    assert {
        "folders of environments, caches and builds not looked into: 1",
        "pipes, sockets and devices not opened: 1",
    } <= set(list_files(tmp_path).notes)


def test_python_files_that_ruff_does_not_look_at_are_counted(tree):
    (tree / "build").mkdir()
    (tree / "build" / "made.py").write_text("")
    shown = [str(tree / "app.py"), "tests/test_app.py"]
    said = "Python files that ruff's own exclude, or .gitignore, leaves out: 1 (build/made.py)"
    assert left_out_by_ruff(tree, ["."], shown) == [said]
    assert left_out_by_ruff(tree, ["app.py", "tests"], shown) == []
