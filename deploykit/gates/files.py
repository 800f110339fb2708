"""Which files a tree has: what git tracks or would track, or, outside git, what a walk finds."""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from deploykit.model import InconclusiveError
from deploykit.process.git import GitNotFound, run_git

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["TreeFiles", "excluded", "fingerprint", "list_files", "python_files", "reject_overlooked"]

_NOT_SOURCES = frozenset({
    ".deploykit", ".eggs", ".git", ".hg", ".hypothesis", ".mypy_cache", ".nox", ".pytest_cache", ".ruff_cache", ".svn",
    ".tox", ".venv", "__pycache__", "build", "dist", "node_modules", "venv",
})  # fmt: skip


_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class TreeFiles:
    """Regular files of a tree, relative with `/`, sorted. `notes` say what was left out, and why."""

    files: tuple[str, ...]
    notes: tuple[str, ...] = ()


def list_files(root: Path) -> TreeFiles:
    """Every file that is, or would be, committed: tracked ones and new ones that are not ignored.

    Raises InconclusiveError when the tree is in git, and git can't be asked, or when not every file can be looked at: a
    folder can't be listed, a name is not UTF-8, or files of a sparse checkout are not there.
    """
    if any((folder / ".git").exists() for folder in (root, *root.parents)):
        return _from_git(root)
    return _walked(root)


def reject_overlooked(root: Path) -> None:
    """Raise InconclusiveError when files differ from those that git takes them for.

    Git does not look at files that were marked by `git update-index --assume-unchanged` or `--skip-worktree`, nor at
    those that a sparse checkout leaves out.
    """
    listed = run_git(root, "ls-files", "-v", "-z").stdout.split("\0")
    # A small letter: assumed to be unchanged; S: skipped.
    marks = {entry[2:]: entry[0] for entry in listed if entry and (entry[0].islower() or entry[0] == "S")}
    absent = [name for name in marks if not os.path.lexists(root / name)]
    if absent:
        _reject_sparse(absent)
    changed = [name for name in marks if _blob(root, name) != _indexed(root, name)]
    if changed:
        option = "--no-skip-worktree" if marks[changed[0]] in "sS" else "--no-assume-unchanged"
        raise InconclusiveError(
            f"{len(changed)} files differ from what git takes them for, so nobody knows which tree was looked at",
            details=changed[:_SHOWN],
            next_step=f"git update-index {option} {changed[0]}",
        )


def _blob(root: Path, name: str) -> str:
    path = root / name
    if path.is_symlink():
        return run_git(root, "hash-object", "--stdin", stdin=str(path.readlink())).stdout.strip()
    return run_git(root, "hash-object", "--", name).stdout.strip()


def _indexed(root: Path, name: str) -> str:
    words = run_git(root, "ls-files", "--stage", "-z", "--", f":(literal){name}")
    return (words.stdout.split() or ["", "gone"])[1]


def python_files(files: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in files if name.endswith((".py", ".pyw")))


def excluded(name: str, patterns: Sequence[str]) -> bool:
    """Whether a path is one of the patterns, lies in a folder that is one, or matches one as a shell pattern."""
    return any(
        name == pattern.rstrip("/") or name.startswith(pattern.rstrip("/") + "/") or fnmatchcase(name, pattern)
        for pattern in patterns
    )


def fingerprint(root: Path) -> str:
    """A hash of all the files' contents, for trees that have no git tree hash."""
    whole = hashlib.sha256()
    for name in list_files(root).files:
        try:
            content = (root / name).read_bytes()
        except OSError:
            content = b"unreadable"
        whole.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode("utf-8", "surrogateescape"))
    return f"files:{whole.hexdigest()}"


def _from_git(root: Path) -> TreeFiles:
    try:
        completed = run_git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
    except GitNotFound as error:
        raise InconclusiveError(
            "the tree is in git, and there is no git program to list its files", next_step="install git"
        ) from error
    if completed.returncode != 0:
        raise InconclusiveError(
            "git could not list the tree's files", details=completed.stderr.splitlines()[-5:], next_step="git status"
        )
    names = [name for name in completed.stdout.split("\0") if name]
    files, absent, links, modules = [], [], 0, 0
    base = f"{root}{os.sep}"
    for name in names:
        try:
            mode = os.lstat(base + name).st_mode
        except (FileNotFoundError, NotADirectoryError):
            absent.append(name)
            continue
        if stat.S_ISLNK(mode):
            links += 1
        elif stat.S_ISREG(mode):
            files.append(name)
        elif stat.S_ISDIR(mode):
            modules += 1
        else:
            raise InconclusiveError(
                f"{name} is no file, folder or link, so it can't be looked at",
                next_step=f"git restore {shlex.quote(name)}",
            )
    if absent:
        _reject_absent(root, absent)
    return TreeFiles(files=tuple(sorted(files)), notes=_notes(links, modules))


def _reject_absent(root: Path, absent: Sequence[str]) -> None:
    """Raise InconclusiveError unless all of them were deleted in the working tree, and so are not of this tree."""
    _reject_names([name for name in absent if "\N{REPLACEMENT CHARACTER}" in name])
    deleted = run_git(root, "ls-files", "-z", "--deleted").stdout.split("\0")
    sparse = sorted(set(absent) - set(deleted))
    if sparse:
        _reject_sparse(sparse)


def _reject_sparse(names: Sequence[str]) -> None:
    raise InconclusiveError(
        f"{len(names)} files of the tree are not checked out, so they can't be looked at",
        details=names[:_SHOWN],
        next_step="git sparse-checkout disable",
    )


def _reject_names(names: Sequence[str]) -> None:
    if names:
        raise InconclusiveError(
            f"{len(names)} file names are not UTF-8, so the files can't be looked at",
            details=[name.encode("utf-8", "replace").decode() for name in names[:_SHOWN]],
            next_step="rename them, or leave them out of the repository",
        )


def _walked(root: Path) -> TreeFiles:
    files, waiting = [], [""]
    links = special = left_out = 0
    while waiting:
        prefix = waiting.pop()
        try:
            entries = list(os.scandir(root / prefix))
        except OSError as error:
            raise InconclusiveError(
                f"the folder {prefix or '.'} can't be listed: {error.strerror}", next_step="make it readable"
            ) from error
        for entry in entries:
            if entry.is_symlink():
                links += 1
            elif entry.is_file():
                files.append(prefix + entry.name)
            elif not entry.is_dir():
                special += 1
            elif entry.name in _NOT_SOURCES or Path(entry.path, "pyvenv.cfg").exists():
                left_out += entry.name not in {".git", ".deploykit"}
            else:
                waiting.append(f"{prefix}{entry.name}/")
    _reject_names([name for name in files if not _is_utf8(name)])
    notes = ["no git: the files were found by a walk", *_notes(links, 0)]
    if special:
        notes.append(f"pipes, sockets and devices not opened: {special}")
    if left_out:
        notes.append(f"folders of environments, caches and builds not looked into: {left_out}")
    return TreeFiles(files=tuple(sorted(files)), notes=tuple(notes))


def _is_utf8(name: str) -> bool:
    """Whether Python decoded the name without escapes."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _notes(links: int, modules: int) -> tuple[str, ...]:
    notes = []
    if links:
        notes.append(f"symbolic links not followed: {links}")
    if modules:
        notes.append(f"folders of other repositories (submodules) not looked into: {modules}")
    return tuple(notes)
