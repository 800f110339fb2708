"""Which gates a change can reach, so that the others need not be asked: `invoke ci --affected BASE`.

Conservative: a file of a kind that is not known here reaches every gate, and so does everything when git can't be
trusted to tell what changed. Files that git ignores are not seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from deploykit.gates.coverage.diff import branch_point
from deploykit.gates.image import dockerfiles
from deploykit.gates.inputs import git_sees_everything
from deploykit.gates.workflows import workflows
from deploykit.model import InconclusiveError
from deploykit.process.git import run_git

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Affected", "affected_gates", "kind_of", "reached"]

_SHOWN = 3
_PROSE = (".md", ".rst")
_PROSE_NAMES = frozenset({"LICENSE", "LICENCE", "NOTICE", "AUTHORS", "CODEOWNERS"})
_CODE = (".py", ".pyi", ".pyw")
# These decide how an environment is made, or what pytest and mypy do: they are code, and more than that.
_NOT_JUST_CODE = frozenset({"setup.py", "conftest.py", "noxfile.py", "tasks.py"})
_REACH: Mapping[str, frozenset[str]] = {
    "code": frozenset({"lint", "format", "typing", "test", "coverage", "sast", "secrets", "migrations"}),
    "prose": frozenset({"lint", "format", "secrets"}),  # ruff also formats code in Markdown
    "Dockerfile": frozenset({"image", "secrets"}),
    "workflow": frozenset({"workflows", "secrets"}),
}
"""Beside these, what tests name or search for reaches `test` and `coverage`."""
_SEARCHES = ("rglob(", ".glob(", "iterdir(", "os.walk(", "listdir(", "scandir(", "ls-files")


@dataclass(frozen=True, kw_only=True)
class Affected:
    """The gates to ask, in the order given, and for each of the others why not.

    `changed` are paths, deleted ones too.
    """

    base: str
    commit: str
    changed: tuple[str, ...]
    gates: tuple[str, ...]
    left_out: Mapping[str, str]


def affected_gates(root: Path, base: str, gates: Sequence[str], *, test_paths: Sequence[str] = ("tests",)) -> Affected:
    """What the changes since the branch left `base` can reach, uncommitted ones and new files included.

    Raises InconclusiveError, with the command that fixes it, outside git, for a missing base, and for one out of reach
    of a shallow clone. Also raises it if nothing changed at all, since then no gate would look at anything.
    """
    name, commit = branch_point(root, base)
    changed = _changed(root, commit)
    if not changed:
        raise InconclusiveError(
            f"nothing changed since {name}, so no gate would look at anything",
            next_step="invoke ci, which asks them all",
        )
    if not git_sees_everything(root):
        return Affected(base=name, commit=commit, changed=changed, gates=tuple(gates), left_out={})
    kinds = {path: kind_of(path) for path in changed}
    named = any(_is_named(root, path, test_paths) for path, kind in kinds.items() if kind in _REACH and kind != "code")
    wanted = reached(kinds, gates) | (frozenset({"test", "coverage"}) if named else frozenset())
    return Affected(
        base=name,
        commit=commit,
        changed=changed,
        gates=tuple(gate for gate in gates if gate in wanted),
        left_out={gate: _why(kinds) for gate in gates if gate not in wanted},
    )


def kind_of(path: str) -> str:
    """`code`, `prose`, `Dockerfile`, `workflow`; empty for everything of which nobody knows what depends on it."""
    pure = PurePosixPath(path)
    if ".." in pure.parts:
        return ""
    if workflows([path]):
        return "workflow"
    if dockerfiles([path]):
        return "Dockerfile"
    if pure.name in _NOT_JUST_CODE:
        return ""
    if pure.suffix in _CODE:
        return "code"
    return "prose" if pure.suffix in _PROSE or pure.name in _PROSE_NAMES else ""


def reached(kinds: Mapping[str, str], gates: Sequence[str]) -> frozenset[str]:
    """The gates that files of these kinds reach by themselves; a file of no known kind reaches all of `gates`."""
    every = frozenset(gates)
    return frozenset().union(*(_REACH.get(kind, every) for kind in kinds.values()))


def _why(kinds: Mapping[str, str]) -> str:
    several = sorted(set(kinds.values()))
    shown = ", ".join(list(kinds)[:_SHOWN]) + (", …" if len(kinds) > _SHOWN else "")
    return f"only {' and '.join(several)} changed ({shown})"


def _changed(root: Path, commit: str) -> tuple[str, ...]:
    prefix = _git(root, "rev-parse", "--show-prefix").strip("\n")
    tracked = _git(root, "diff", "--name-only", "-z", "--no-renames", "--ignore-submodules=dirty", commit, "--")
    new = _git(root, "ls-files", "-z", "--others", "--exclude-standard", "--full-name", "--", ":/")
    names = {
        # What lies beside the tree in the same repository is nobody's kind of file.
        name.removeprefix(prefix) if name.startswith(prefix) else f"../{name}"
        for name in filter(None, f"{tracked}\0{new}".split("\0"))
    }
    return tuple(sorted(names))


def _is_named(root: Path, path: str, test_paths: Sequence[str]) -> bool:
    """Whether code or configuration names the file, its folder or its kind, or the tests search folders."""
    pure = PurePosixPath(path)
    words = [pure.name, *(part for part in pure.parts[:-1]), *([pure.suffix] if pure.suffix else [])]
    anywhere = _greps(root, words, ["*.py", "*.toml", "*.cfg", "*.ini", "MANIFEST.in"])
    return anywhere or _greps(root, _SEARCHES, [*test_paths, "*conftest.py"])


def _greps(root: Path, words: Sequence[str], where: Sequence[str]) -> bool:
    patterns = [part for word in words for part in ("-e", word)]
    # 0: found, 1: not; anything else is no answer, so it counts as found.
    done = run_git(root, "grep", "--untracked", "--quiet", "--fixed-strings", *patterns, "--", *where)
    return done.returncode != 1


def _git(root: Path, *words: str) -> str:
    done = run_git(root, *words)
    if done.returncode != 0:
        raise InconclusiveError(
            "git could not say what changed", details=done.stderr.splitlines()[-5:], next_step="git status"
        )
    return done.stdout
