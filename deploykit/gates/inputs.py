"""What a gate's answer depends on, as one hash: the same inputs, the same answer, so a pass need not be run again.

Everything that can't be put into the hash leads to no hash at all, and without one the gate is run.
"""

from __future__ import annotations

import hashlib
import re
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from deploykit.gates.catalog import project_needs
from deploykit.gates.interface import WORK_FOLDER, Gate
from deploykit.gates.obeyed import outside_git, reject_code_outside
from deploykit.gates.requirements import lock_files
from deploykit.gates.tools import environment_key
from deploykit.gates.verdict_files import read_verdict
from deploykit.model import DeploykitError, InconclusiveError
from deploykit.process.git import run_git

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from deploykit.settings.models import Settings

__all__ = ["git_sees_everything", "inputs_of", "state_of"]

_FORM = "2"
_ADVISORIES_VARIABLE = "DEPLOYKIT_ADVISORIES"
_READ_ONLY = frozenset({"lint", "format", "sast", "audit", "secrets", "image", "workflows"})
"""Gates that run none of the project's code."""
_FILTER = re.compile(rb"^[^#\n]*\sfilter=(?!lfs\b)", re.MULTILINE)
"""A filter in .gitattributes other than that of Git LFS, which names a file by the hash of its content."""
# Differ from one terminal, login or run to the next, and say nothing about a tree.
_PASSING = frozenset({
    "COLORTERM", "COLUMNS", "DEPLOYKIT_FORCE", "DEPLOYKIT_NOX_RUN", "DISPLAY", "FORCE_COLOR", "LINES", "NO_COLOR",
    "OLDPWD", "PROMPT_COMMAND", "PS1", "PWD", "SHLVL", "STY", "TERM", "TMUX", "TMUX_PANE", "WINDOWID", "_",
})  # fmt: skip
_PASSING_STARTS = ("DBUS_", "GPG_", "ITERM_", "NOX_", "SSH_", "TERM_", "VSCODE_", "XDG_SESSION", "XDG_VTNR")


def state_of(root: Path, *, tree: str, environment: Mapping[str, str]) -> str:
    """The hash of the files that any gate may look at or obey; empty where something can't be hashed, or outside git.

    `tree` is git's hash of the files with uncommitted changes and new files, below the top of a repository with those
    of the whole repository. Of files that git ignores, configuration and code count.
    """
    if not tree or not git_sees_everything(root):
        return ""
    try:
        return _hash(part for named in [(tree, b""), *outside_git(root, environment)] for part in named)
    except (OSError, DeploykitError):
        return ""


def inputs_of(
    gate: Gate, root: Path, settings: Settings, *, state: str, environment: Mapping[str, str], base: str = ""
) -> str:
    """The hash of all that the gate's answer depends on; empty where something can't be hashed.

    `state` is that of the files (`state_of`).
    """
    if not state:
        return ""
    try:
        if gate.name not in _READ_ONLY:
            reject_code_outside(root, environment)
        return _hash(_parts(gate, root, settings, state=state, environment=environment, base=base))
    except (OSError, DeploykitError):
        return ""


def _hash(parts: Iterable[str | bytes]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        whole.update(f"{len(raw)}\0".encode() + raw)
    return whole.hexdigest()


def _parts(
    gate: Gate, root: Path, settings: Settings, *, state: str, environment: Mapping[str, str], base: str
) -> Iterator[str | bytes]:
    yield from (_FORM, gate.name, repr(gate), str(root), state, base)
    yield from (_kit(), sys.version, environment_key(), repr(project_needs(settings)))
    for path in _named_files(gate, root, settings):
        yield from (str(path), _content(path))
    for name, value in sorted(environment.items()):
        if name not in _PASSING and not name.startswith(_PASSING_STARTS):
            yield f"{name}={value}"
    if gate.name == "audit":
        given = environment.get(_ADVISORIES_VARIABLE) or settings.security.audit.advisories
        yield _copy(root / Path(given).expanduser()) if given else b"online"
    if gate.name == "migrations":
        if settings.migrations.server_version == "ask":
            raise InconclusiveError("what a database answers is no file")
        yield _git(root, "describe", "--tags", "--always", "--abbrev=40", "--match", "v[0-9]*")
    if gate.name == "coverage":
        yield from _measured(root)
        for revision in ("HEAD", base or settings.coverage.base, "origin/main", "main"):
            yield _commit(root, revision) if revision else ""


def _named_files(gate: Gate, root: Path, settings: Settings) -> Iterator[Path]:
    """Files that settings, locks and the baseline of secrets name: git may ignore them, or they lie elsewhere."""
    yield from (root / "pyproject.toml", root / "uv.lock", root / "pylock.toml")
    locks = (settings.service.requirements, *settings.tests.requirements, settings.security.audit.requirements)
    for name in filter(None, locks):
        yield from lock_files(root / name)
    if gate.name == "secrets":
        from deploykit.gates.secretscan.baseline import read_baseline

        known = root / settings.security.secrets.baseline
        baseline = read_baseline(known)
        yield from (known, *(root / name for name in (baseline.files if baseline else ())))


@cache
def _kit() -> bytes:
    """The kit's own files: its code is part of every answer, and the locks in it say which tools are asked."""
    home = Path(__file__).parent.parent
    whole = hashlib.sha256()
    for path in sorted(home.rglob("*")):
        if path.suffix != ".pyc" and path.is_file():
            whole.update(f"{path.relative_to(home)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return whole.digest()


def git_sees_everything(root: Path) -> bool:
    """Whether git's hash covers every file of the repository: none is marked as unchanged, in conflict, or another
    repository's, and none goes through a filter, by which different files may get the same hash.
    """
    try:
        listed = run_git(root, "ls-files", "-v", "--stage", "-z", "--", ":/")
        entries = [entry for entry in listed.stdout.split("\0") if entry]
        attributes = [name for entry in entries if (name := entry.partition("\t")[2]).endswith(".gitattributes")]
        # Git does not follow a link of that name, and neither does the kit.
        filtered = any((root / name).is_symlink() or _FILTER.search((root / name).read_bytes()) for name in attributes)
    except (DeploykitError, OSError):
        return False
    return (
        listed.returncode == 0
        and not filtered
        and all(entry.startswith("H ") and not entry.startswith("H 160000") for entry in entries)
    )


def _commit(root: Path, revision: str) -> str:
    return _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")


def _git(root: Path, *words: str) -> str:
    return run_git(root, *words).stdout


def _content(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b"none"


def _copy(path: Path) -> bytes:
    if not path.is_dir():
        return _content(path)
    whole = hashlib.sha256()
    for file in sorted(path.rglob("*.json")):
        whole.update(f"{file.relative_to(path)}\0".encode() + _content(file))
    return whole.digest()


def _measured(root: Path) -> Iterator[str]:
    """The data that coverage judges, and the verdicts that vouch for them."""
    from deploykit.gates.test import data_fingerprint

    home = root / WORK_FOLDER / "coverage"
    for folder in sorted(home.iterdir()) if home.is_dir() else ():
        verdict = read_verdict(root, folder.name)
        vouched = f"{verdict.outcome.value} {verdict.tree} {verdict.evidence.settings}" if verdict else "nobody"
        yield f"{folder.name} {data_fingerprint(folder)} {vouched}"
