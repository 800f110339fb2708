"""What the next commit brings, written out: the content of git's index, in a folder of its own.

The working tree may differ from what is committed, so the hooks before a commit read this copy.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from deploykit.model import InconclusiveError, UsageError
from deploykit.process.files import flocked
from deploykit.process.git import clean_environment, run_git

if TYPE_CHECKING:
    from deploykit.process import Completed

__all__ = ["write_staged"]

_AS_THEY_ARE = {"core.autocrlf": "false", "core.sparseCheckout": "false"}
"""Settings of the copy's repository, whatever the user's are: every file, and its bytes as the index has them."""


def write_staged(root: Path, store: Path) -> Path:
    """The folder, below `store`, that has what git's index has of `root`; it is `root` of a repository with that index.

    A repository has one such folder, in which only what changed is written. `GIT_INDEX_FILE` counts: `git commit -a`
    and `git commit FILE` have an index of their own. The user's repository is not written to.

    Raises UsageError outside a repository, InconclusiveError when the index can't be written as a tree (conflicts).
    """
    words = ("--show-toplevel", "--show-object-format", "--git-path", "index", "--git-path", "objects", "--show-prefix")
    done = run_git(root, "rev-parse", *words)
    if done.returncode != 0:
        raise UsageError(
            f"{root} is in no git repository, so nothing is about to be committed",
            next_step="run it in the repository, or judge the whole tree: invoke gate NAME",
        )
    top, form, index, objects, prefix = (*done.stdout.splitlines(), "")[:5]
    own = os.environ.get("GIT_INDEX_FILE")
    source = Path(top) / own if own else root / index  # git starts hooks at the top, wherever they go from there
    name = hashlib.sha256(os.fsencode(top)).hexdigest()[:16]
    # The last part is the name of the app where nothing else says it.
    folder = store / name / (Path(top).name or "root")
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    head = run_git(root, "rev-parse", "--verify", "--quiet", "HEAD").stdout.strip()
    with flocked(folder.with_name("lock")):
        if not _is_written(folder, source):
            _write(root, source, (root / objects).resolve(), folder, form)
        (folder / ".git" / "HEAD").write_text(f"{head}\n" if head else "ref: refs/heads/none\n", encoding="utf-8")
    return folder / prefix if prefix else folder


def _is_written(folder: Path, index: Path) -> bool:
    """Whether an earlier hook of the same commit has done it."""
    done = folder / ".git" / "written"
    return done.exists() and index.exists() and done.read_bytes() == index.read_bytes()


def _write(root: Path, index: Path, objects: Path, folder: Path, form: str) -> None:
    copy, done = folder / ".git" / "staged", folder / ".git" / "written"
    done.unlink(missing_ok=True)
    if not _check_out(folder, _write_tree(root, index, objects, copy, form)):
        # Somebody else wrote there, or was interrupted: it is only a copy.
        shutil.rmtree(folder)
        if not _check_out(folder, _write_tree(root, index, objects, copy, form)):
            raise InconclusiveError(
                "git could not write out what is staged", details=[str(folder)], next_step="git fsck"
            )
    if copy.exists():
        copy.rename(done)


def _write_tree(root: Path, index: Path, objects: Path, copy: Path, form: str) -> str:
    """The tree that the index has. New objects go into the store of the repository that `copy` is in."""
    own = copy.parent
    if not (own / "HEAD").exists():
        own.parent.mkdir(exist_ok=True)
        _ok(run_git(own.parent, "init", "--quiet", "--template=", f"--object-format={form}"))
        for name, value in _AS_THEY_ARE.items():
            _ok(run_git(own.parent, "config", name, value))
        (own / "objects" / "info").mkdir(exist_ok=True)
    (own / "objects" / "info" / "alternates").write_bytes(os.fsencode(objects) + b"\n")
    copy.unlink(missing_ok=True)
    if index.exists():
        shutil.copy2(index, copy)  # with its time, by which git knows entries that are newer
    env = clean_environment() | {"GIT_INDEX_FILE": str(copy), "GIT_OBJECT_DIRECTORY": str(own / "objects")}
    return _ok(run_git(root, "write-tree", env=env)).stdout.strip()


def _check_out(folder: Path, tree: str) -> bool:
    done = run_git(folder, "read-tree", "--reset", "-u", tree)
    return done.returncode == 0 and "error:" not in done.stderr


def _ok(done: Completed) -> Completed:
    if done.returncode != 0:
        raise InconclusiveError(
            "git could not say what is staged", details=done.stderr.splitlines()[-5:], next_step="git status"
        )
    return done
