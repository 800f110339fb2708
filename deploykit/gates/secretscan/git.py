"""What git holds: staged contents, and every version of every file in its history."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.model import InconclusiveError
from deploykit.process.git import GitNotFound, git_call, run_git

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["Change", "commits", "contents", "history_changes", "is_shallow", "parents", "staged_changes", "text_of"]

_FILE_MODES = ("100644", "100755", "100664")
_SECONDS = 600.0


@dataclass(frozen=True, kw_only=True)
class Change:
    """A version of a file. `kind`: `file`, `link`, `submodule` or `deleted`; `blob` is empty for the last."""

    path: str
    blob: str
    kind: str
    commit: str = ""


def staged_changes(root: Path) -> list[Change]:
    """What the next commit would change, as it is staged (a file's content in the tree may be another)."""
    out = _git(root, "diff", "--cached", "--raw", "-z", "--no-renames", "--no-abbrev")
    return list(_changes(out.split("\0"), ""))


def history_changes(root: Path, *, known: Sequence[str] = ()) -> Iterator[Change]:
    """Every version of every file in all refs' history, but for what the commits `known` and their ancestors have."""
    argv = [
        "log", "--all", "--stdin", "--raw", "-z", "-m", "--root", "--no-renames", "--no-abbrev", "--format=%x01%H",
    ]  # fmt: skip
    out = _git(root, *argv, stdin="".join(f"^{commit}\n" for commit in known))
    for part in out.split("\x01")[1:]:
        commit, _, rest = part.partition("\0")
        yield from _changes(rest.lstrip("\n").split("\0"), commit.strip())


def commits(root: Path) -> frozenset[str]:
    """Every commit that a ref reaches."""
    return frozenset(_git(root, "rev-list", "--all").split())


def parents(root: Path) -> frozenset[str]:
    """Every commit that another one is made from."""
    lines = _git(root, "rev-list", "--all", "--parents").splitlines()
    return frozenset(word for line in lines for word in line.split()[1:])


def is_shallow(root: Path) -> bool:
    return _git(root, "rev-parse", "--is-shallow-repository").strip() == "true"


def text_of(root: Path, name: str, *, of: str = "HEAD") -> str | None:
    """A file's text in a commit (the last one), a side of a merge (`:2`, `:3`), or the index (empty); None: there is
    none.
    """
    try:
        completed = run_git(root, "show", f"{of}:./{name}", timeout=_SECONDS, of_hook=True)
    except GitNotFound:
        return None
    return completed.stdout if completed.returncode == 0 else None


def contents(root: Path, blobs: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
    """Each blob's content, in order, one in memory at a time; None for one that this clone does not have."""
    argv, environment = git_call(root, "cat-file", "--batch", of_hook=True)
    with tempfile.TemporaryFile() as asked:
        asked.write("".join(f"{blob}\n" for blob in blobs).encode())
        asked.seek(0)
        with subprocess.Popen(
            argv,
            cwd=root,
            stdin=asked,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        ) as git:
            try:
                stream = git.stdout
                for blob in blobs:
                    head = stream.readline().split() if stream is not None else []
                    if len(head) != 3 or stream is None:
                        yield blob, None
                        continue
                    content = stream.read(int(head[2]))
                    stream.read(1)
                    yield blob, content
            finally:
                git.kill()


def _changes(fields: Sequence[str], commit: str) -> Iterator[Change]:
    meta = ""
    for field in fields:
        if field.startswith(":"):
            meta = field
        elif meta and field:
            _, mode, _, blob, _status = meta.split()
            kind = "file" if mode in _FILE_MODES else {"120000": "link", "160000": "submodule"}.get(mode, "deleted")
            yield Change(path=field, blob=blob if kind == "file" else "", kind=kind, commit=commit)
            meta = ""


def _git(root: Path, *words: str, stdin: str = "") -> str:
    try:
        completed = run_git(root, *words, stdin=stdin, timeout=_SECONDS, of_hook=True)
    except GitNotFound as error:
        raise InconclusiveError("there is no git program to ask", next_step="install git") from error
    if completed.returncode != 0:
        raise InconclusiveError(
            f"git {words[0]} gave no answer", details=completed.stderr.splitlines()[-5:], next_step="git status"
        )
    return completed.stdout
