"""An attack: a repository whose configuration and attributes name programs. No call of the kit runs any of them."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import deploykit
from deploykit.artifacts.git import export, files_of, read_tree, tree_of
from deploykit.artifacts.identity import read_identity, with_first_commits
from deploykit.artifacts.image.build import source_url
from deploykit.artifacts.image.plan import tags_of
from deploykit.credentials.values import _file_warnings
from deploykit.gates.affected import affected_gates
from deploykit.gates.coverage.diff import changes_since
from deploykit.gates.files import list_files, reject_overlooked
from deploykit.gates.inputs import state_of
from deploykit.gates.run import run_gate
from deploykit.gates.secretscan.baseline import Baseline
from deploykit.gates.secretscan.git import text_of
from deploykit.gates.secretscan.history import scan_history
from deploykit.model import UsageError
from deploykit.process.git import clean_environment, run_git, smudging_filters
from deploykit.schema.lint.history import edits
from deploykit.sessions.hook import main as hook
from tests.shared.repositories import Repo, clean_git, empty_repo, repo

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["clean_git", "empty_repo", "repo"]

HOOKS = ("pre-commit", "post-checkout", "post-index-change", "post-rewrite", "reference-transaction", "pre-auto-gc")


class Attack:
    """A repository whose every program leaves a mark outside of it."""

    def __init__(self, repo: Repo, folder: Path) -> None:
        self.repo, self.root = repo, repo.root
        self.marks = folder / "marks"
        self.marks.mkdir()
        self._programs = folder / "programs"
        self._programs.mkdir()

    def program(self, name: str) -> str:
        path = self._programs / name
        path.write_text(f'#!/bin/sh\n: > "{self.marks}/{name}"\ncat 2>/dev/null\n')
        path.chmod(0o755)
        return str(path)

    def ran(self) -> list[str]:
        return sorted(path.name for path in self.marks.iterdir())

    def arm(self) -> None:
        """Change files whose difference git has to look at, then configure. Files are newer than the index knows."""
        names = ("app.py", "migrations/versions/one.py", "a.txt", ".env.local")
        self.repo.write("migrations/versions/one.py", "revision = 'one'\n")
        self.repo.write("app.py", "VALUE = 1\n")
        self.repo.write(".gitattributes", "* filter=evil diff=evil merge=evil\n*.txt filter=EVIL.with.dots\n")
        self.repo.commit()
        self.repo.git("tag", "v1.0.0")
        self.repo.commit("sub/b.txt", "sub/c.py")
        for name in names:
            self.repo.write(name, "VALUE = 2\n")
        self.repo.write("new.py", "VALUE = 3\n")
        self.repo.git("add", "a.txt")
        for name in names:
            os.utime(self.root / name, (2_000_000_000, 2_000_000_000))
        for hook_name in HOOKS:
            path = self.root / ".git" / "hooks" / hook_name
            path.parent.mkdir(exist_ok=True)
            path.symlink_to(self.program(f"hook-{hook_name}"))
        info = self.root / ".git" / "info" / "attributes"
        info.parent.mkdir(exist_ok=True)
        info.write_text("app.py filter=\n")
        with (self.root / ".git" / "config").open("a") as file:
            file.write(self._configuration())

    def _configuration(self) -> str:
        filters = "".join(
            f'[filter "{name}"]\nclean = {self.program(f"clean-{label}")}\nsmudge = {self.program(f"smudge-{label}")}\n'
            f"process = {self.program(f'process-{label}')}\nrequired = true\n"
            for name, label in (("evil", "plain"), ("EVIL.with.dots", "dots"), ("", "nameless"))
        )
        return (
            f"{filters}[diff]\nexternal = {self.program('diff-external')}\n"
            f'[diff "evil"]\ntextconv = {self.program("textconv")}\ncommand = {self.program("diff-command")}\n'
            f'[merge "evil"]\ndriver = {self.program("merge")}\n'
            f"[core]\nfsmonitor = {self.program('fsmonitor')}\nhooksPath = {self.root / '.git' / 'hooks'}\n"
            f"sshCommand = {self.program('ssh')}\neditor = {self.program('editor')}\npager = {self.program('pager')}\n"
            f"askPass = {self.program('askpass')}\n[gpg]\nprogram = {self.program('gpg')}\n[log]\nshowSignature = true\n"
            f"[credential]\nhelper = !{self.program('credential')}\n[alias]\nstatus = !{self.program('alias')}\n"
            f"[pager]\nlog = {self.program('pager-log')}\n"
        )


@pytest.fixture
def attack(repo: Repo, tmp_path: Path) -> Attack:
    made = Attack(repo, tmp_path)
    made.arm()
    return made


def test_the_attack_works_on_git_itself(attack):
    """Otherwise the tests below could not fail."""
    off = [word for option in ("process=", "smudge=", "required=false") for word in ("-c", f"filter.evil.{option}")]
    for words in (
        [*off, "diff", "v1.0.0", "HEAD"],
        [*off, "show"],
        ["add", "new.py"],
        ["add", "app.py"],
        ["add", "a.txt"],
        ["read-tree", "HEAD"],
    ):
        subprocess.run(["git", *words], cwd=attack.root, capture_output=True, timeout=30, check=False)
    filters = {"process-plain", "process-dots", "process-nameless"}
    assert filters | {"fsmonitor", "diff-command", "textconv", "hook-post-index-change"} <= set(attack.ran())


def _gates(attack: Attack) -> None:
    for gate in ("secrets", "lint", "workflows", "image"):  # those that list the tree; the tools are not needed for it
        run_gate(
            gate,
            attack.root,
            arguments=("--staged",) if gate == "secrets" else (),
            tree=lambda: tree_of(attack.root),
            environment={"PATH": os.environ["PATH"], "HOME": str(attack.marks.parent)},
            make_toolbox=_no_toolbox,
        )


def _no_toolbox(*_args, **_more):
    raise UsageError("no tools here")


def _identity(attack: Attack) -> None:
    assert with_first_commits(read_identity(attack.root), attack.root).first_commits
    source_url(attack.root)


def _history(attack: Attack) -> None:
    scan_history(attack.root, Baseline().rules(), state=attack.marks.parent / "state.json")
    assert text_of(attack.root, "app.py") == "VALUE = 1\n"


def _hook(attack: Attack) -> None:
    before = Path.cwd()
    os.chdir(attack.root)
    try:
        hook(["secrets", "--staged"])
        hook(["secrets", "app.py"])
    finally:
        os.chdir(before)


READERS: dict[str, Callable[[Attack], object]] = {
    "the tree that is released": lambda attack: (read_tree(attack.root), read_tree(attack.root / "migrations")),
    "its files": lambda attack: (files_of(attack.root), list_files(attack.root), reject_overlooked(attack.root)),
    "its identity": _identity,
    "image tags": lambda attack: tags_of(read_tree(attack.root)),
    "what gates depend on": lambda attack: state_of(attack.root, tree=tree_of(attack.root), environment={}),
    "gates": _gates,
    "the hook": _hook,
    "ci --affected": lambda attack: affected_gates(attack.root, "v1.0.0", ("lint", "test")),
    "coverage of changed lines": lambda attack: changes_since(attack.root, "v1.0.0"),
    "edited revisions": lambda attack: edits(attack.root, "migrations", {"migrations/versions/one.py": "one"}),
    "secrets in the history": _history,
    "variables in git": lambda attack: _file_warnings(attack.root / ".env.local"),
}


@pytest.mark.parametrize("reader", READERS)
def test_reading_the_tree_runs_no_program_of_the_repository(attack, reader):
    READERS[reader](attack)
    assert attack.ran() == []


def test_a_file_that_a_filter_makes_is_refused_and_the_filter_is_not_run(attack, tmp_path):
    for tree in (read_tree(attack.root), read_tree(attack.root / "migrations")):
        with pytest.raises(UsageError, match="by the filter '.*', a program") as refused:
            export(tree, tmp_path / f"out-{tree.prefix.strip('/')}")
        assert refused.value.details
    assert attack.ran() == []


def test_files_marked_as_unchanged_are_hashed_without_the_filter(attack):
    assert run_git(attack.root, "update-index", "--assume-unchanged", "app.py").returncode == 0
    with pytest.raises(Exception, match="files differ from what git takes them for"):
        reject_overlooked(attack.root)
    assert attack.ran() == []


def test_a_submodule_brings_no_program_either(repo, tmp_path):
    inner = Attack(Repo(repo.root / "library"), tmp_path)
    inner.repo.git("init", "--quiet", "--initial-branch", "main")
    inner.repo.commit("a.txt")
    inner.arm()
    commit = (inner.root / ".git" / "refs" / "heads" / "main").read_text().strip()
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{commit},library")
    repo.git("-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--message", "A submodule")
    repo.write("a.txt", "edited\n")
    for path in inner.marks.iterdir():
        path.unlink()
    read_tree(repo.root)
    tree_of(repo.root)
    list_files(repo.root)
    affected_gates(repo.root, "HEAD~1", ("lint",))
    changes_since(repo.root, "HEAD~1")
    assert inner.ran() == []


def test_a_folder_of_the_tree_that_looks_like_a_repository_is_not_taken_for_one(repo, tmp_path):
    inside = repo.root / "bare"
    repo.git("clone", "--quiet", "--bare", str(repo.root), str(inside))
    program = Attack(Repo(tmp_path / "unused"), tmp_path).program("fsmonitor")
    (inside / "config").write_text(
        f"[core]\nrepositoryformatversion = 0\nbare = false\nworktree = .\nfsmonitor = {program}\n"
    )
    with pytest.raises(UsageError, match="without a working tree"):
        read_tree(inside)
    assert not list((tmp_path / "marks").iterdir())


def test_a_filter_whose_name_is_no_text_is_refused(attack):
    with (attack.root / ".git" / "config").open("ab") as file:
        file.write(b'[filter "\xff"]\nclean = ' + os.fsencode(attack.program("odd")) + b"\n")
    (attack.root / ".gitattributes").write_bytes(b"* filter=\xff\n")
    with pytest.raises(UsageError, match="a name that is not UTF-8"):
        read_tree(attack.root)
    assert attack.ran() == []


def test_git_lfs_is_called_by_its_name_and_not_by_what_is_configured(attack, tmp_path, monkeypatch):
    (attack.root / ".gitattributes").write_text("*.bin filter=lfs -text\n")
    (attack.root / ".git" / "info" / "attributes").unlink()
    attack.repo.write("model.bin", "the model\n")
    with (attack.root / ".git" / "config").open("a") as file:
        file.write(
            f'[filter "lfs"]\nclean = {attack.program("lfs-clean")}\nprocess = {attack.program("lfs-process")}\n'
        )
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "git-lfs").write_text(f'#!/bin/sh\necho "$1 $GIT_LFS_SKIP_SMUDGE" > "{tmp_path}/asked"\nexit 1\n')
    (tools / "git-lfs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    with pytest.raises(Exception, match="git add"):
        read_tree(attack.root)
    assert (tmp_path / "asked").read_text() == "filter-process 1\n"
    (tmp_path / "asked").unlink()
    with (attack.root / ".git" / "config").open("a") as file:
        file.write(f'[lfs "extension.evil"]\nclean = {attack.program("lfs-extension")}\n')
    read_tree(attack.root)  # its own programs could not be kept from running, so it is not called
    assert not (tmp_path / "asked").exists()
    assert attack.ran() == []


def test_a_filter_that_only_reads_does_not_hinder_a_build(repo, tmp_path):
    repo.git("config", "filter.strip.clean", "/nonexistent")
    repo.git("config", "filter.strip.smudge", "cat")
    repo.write("notebook.ipynb", "{}\n")
    repo.write(".gitattributes", "*.ipynb filter=strip\n*.txt filter=unknown\n")
    assert smudging_filters(repo.root) == frozenset()
    export(read_tree(repo.root), tmp_path / "out")
    assert (tmp_path / "out" / "notebook.ipynb").read_text() == "{}\n"


def test_nothing_is_fetched_from_where_the_repository_says(repo, tmp_path):
    """A clone without contents asks its remote for what it lacks; here by a program."""
    program = Attack(Repo(tmp_path / "unused"), tmp_path).program("upload-pack")
    repo.git("config", "uploadpack.allowFilter", "true")
    clone = tmp_path / "clone"
    repo.git("clone", "--quiet", "--no-checkout", "--filter=blob:none", f"file://{repo.root}", str(clone))
    subprocess.run(["git", "config", "remote.origin.uploadpack", program], cwd=clone, check=True)
    assert run_git(clone, "cat-file", "blob", "HEAD:a.txt").returncode != 0
    assert not list((tmp_path / "marks").iterdir())


def test_a_hook_reads_the_index_that_is_committed(repo, monkeypatch, tmp_path):
    repo.write("a.txt", "staged\n")
    shutil.copy(repo.root / ".git" / "index", tmp_path / "index")
    repo.git("add", "a.txt")
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert run_git(repo.root, "diff", "--cached", "--name-only").stdout == "a.txt\n"
    assert run_git(repo.root, "diff", "--cached", "--name-only", of_hook=True).stdout == ""
    assert "GIT_INDEX_FILE" not in clean_environment()


def test_git_is_called_in_one_place_only():
    home = Path(deploykit.__file__).parent
    found = []
    for path in sorted(home.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            words = (
                node.elts
                if isinstance(node, (ast.List, ast.Tuple))
                else node.args
                if isinstance(node, ast.Call)
                else []
            )
            first = words[0] if words else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                program = (first.value.split() or [""])[0].rpartition("/")[2]
                if program == "git" and not _is_sentence(node):
                    found.append(path.relative_to(home).as_posix())
    assert set(found) == {"process/git.py"}


def _is_sentence(node: ast.AST) -> bool:
    """A message such as `UsageError("git can't read …")` is no command line."""
    return isinstance(node, ast.Call) and " " in node.args[0].value
