"""Which lines changed since the base: `git diff` of the working tree against where the branch left it, new files
included.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.model import InconclusiveError
from deploykit.process.git import GitNotFound, run_git

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deploykit.process.run import Completed

__all__ = ["Changes", "branch_point", "changes_since", "parse_diff"]

_DEFAULTS = ("origin/main", "main", "origin/master", "master")
_HUNK = re.compile(r"^@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@")
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)")
_ESCAPES = {b"n": b"\n", b"t": b"\t", b'"': b'"', b"\\": b"\\", b"a": b"\a", b"b": b"\b", b"r": b"\r"}


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Lines of Python files as they are now that were not so at `commit`, where the branch left `base`."""

    base: str
    commit: str
    lines: Mapping[str, frozenset[int]]


def changes_since(root: Path, base: str = "") -> Changes:
    """What changed since `base`, or since the main branch where none is named.

    Raises InconclusiveError, with the command that fixes it, outside git and for a missing base. Also raises it for a
    shallow clone that does not reach back to where the branch began.
    """
    name, commit = branch_point(root, base)
    words = ["-U0", "--relative", "--no-color", "--ignore-submodules", "--find-renames"]
    diff = _git(root, "diff", *words, "--src-prefix=a/", "--dst-prefix=b/", commit, "--", "*.py", "*.pyw")
    new = _git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", "*.py", "*.pyw")
    for answer in (diff, new):
        if answer.returncode != 0:
            raise InconclusiveError(
                f"git could not say what changed since {name}",
                details=answer.stderr.splitlines()[-5:],
                next_step="git status",
            )
    lines = parse_diff(diff.stdout)
    for path in filter(None, new.stdout.split("\0")):
        if (root / path).is_file():  # not a link to a device, which has no end
            count = (root / path).read_text(encoding="utf-8", errors="replace").count("\n") + 1
            lines[path] = frozenset(range(1, count + 1))
    return Changes(base=name, commit=commit, lines=lines)


def branch_point(root: Path, base: str = "") -> tuple[str, str]:
    """The base's name, and the commit where the branch left it. Raises as `changes_since` does."""
    inside = _git(root, "rev-parse", "--is-inside-work-tree")
    if inside.returncode != 0:
        raise InconclusiveError("the tree is not in git, so nobody knows what changed", next_step="git init")
    wanted = (base,) if base else _DEFAULTS
    name = next((name for name in wanted if _commit(root, name)), "")
    if not name:
        raise InconclusiveError(
            f"there is no {' or '.join(wanted)} to compare with",
            next_step=_fetch(root, wanted[0]),
        )
    merge_base = _git(root, "merge-base", name, "HEAD")
    if merge_base.returncode != 0:
        why = (
            "this clone is shallow, and does not reach back to where the branch left it"
            if _is_shallow(root)
            else "the two have no commit in common"
        )
        raise InconclusiveError(f"there is nothing to compare with in {name}: {why}", next_step=_fetch(root, name))
    return name, merge_base.stdout.strip()


def parse_diff(text: str) -> dict[str, frozenset[int]]:
    """The new lines of each file in a unified diff without context; files that are gone have none."""
    lines: dict[str, set[int]] = {}
    path = ""
    left = 0
    for line in text.split("\n"):
        if left and line[:1] in {"+", "-", "\\"}:
            left -= line[:1] == "+"
            continue
        if line.startswith("+++ "):
            path = _path(line[4:])
        elif (hunk := _HUNK.match(line)) and path:
            start, left = int(hunk[1]), int(hunk[2] or 1)
            lines.setdefault(path, set()).update(range(start, start + left))
    return {name: frozenset(numbers) for name, numbers in lines.items() if numbers}


def _path(word: str) -> str:
    """The path in a `+++` line; empty for /dev/null. git quotes names with odd characters as C does."""
    word = word.rstrip("\t")
    if word.startswith('"'):
        raw = word[1:-1].encode("utf-8", "surrogateescape")
        word = _ESCAPE.sub(_unescape, raw).decode("utf-8", "replace")
    return word[2:] if word.startswith("b/") else ""


def _unescape(match: re.Match[bytes]) -> bytes:
    escaped = match[1]
    return bytes([int(escaped, 8)]) if len(escaped) == 3 else _ESCAPES.get(escaped, escaped)


def _fetch(root: Path, base: str) -> str:
    if _is_shallow(root):
        return "git fetch --unshallow"
    return f"git fetch origin {shlex.quote(base.removeprefix('origin/'))}"


def _commit(root: Path, name: str) -> bool:
    return _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").returncode == 0


def _is_shallow(root: Path) -> bool:
    return _git(root, "rev-parse", "--is-shallow-repository").stdout.strip() == "true"


def _git(root: Path, *words: str) -> Completed:
    try:
        return run_git(root, *words)
    except GitNotFound as error:
        raise InconclusiveError("there is no git program to say what changed", next_step="install git") from error
