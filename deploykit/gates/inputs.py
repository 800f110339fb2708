"""What a gate's answer depends on, as one hash: the same inputs, the same answer, so a pass need not be run again.

Everything that can't be put into the hash leads to no hash at all, and without one the gate is run.
"""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from deploykit.gates.catalog import project_needs
from deploykit.gates.interface import WORK_FOLDER, Gate
from deploykit.gates.tools import environment_key
from deploykit.gates.verdict_files import read_verdict
from deploykit.model import DeploykitError, InconclusiveError
from deploykit.process.run import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from deploykit.settings.models import Settings

__all__ = ["git_sees_everything", "inputs_of"]

_FORM = "1"
_ADVISORIES_VARIABLE = "DEPLOYKIT_ADVISORIES"
# Differ from one terminal, login or run to the next, and say nothing about a tree.
_PASSING = frozenset({
    "COLORTERM", "COLUMNS", "DEPLOYKIT_FORCE", "DEPLOYKIT_NOX_RUN", "DISPLAY", "FORCE_COLOR", "LINES", "NO_COLOR",
    "OLDPWD", "PROMPT_COMMAND", "PS1", "PWD", "SHLVL", "STY", "TERM", "TMUX", "TMUX_PANE", "WINDOWID", "_",
})  # fmt: skip
_PASSING_STARTS = ("DBUS_", "GPG_", "ITERM_", "NOX_", "SSH_", "TERM_", "VSCODE_", "XDG_SESSION", "XDG_VTNR")


def inputs_of(
    gate: Gate, root: Path, settings: Settings, *, tree: str, environment: Mapping[str, str], base: str = ""
) -> str:
    """The hash of all that the gate's answer depends on; empty where something can't be hashed, or outside git.

    `tree` is git's hash of the files with uncommitted changes and new files. Not seen are files that git ignores
    (but for locks and the advisories, which are read), and configuration in the user's home.
    """
    if not tree or not git_sees_everything(root):
        return ""
    whole = hashlib.sha256()
    try:
        for part in _parts(gate, root, settings, tree=tree, environment=environment, base=base):
            raw = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
            whole.update(f"{len(raw)}\0".encode() + raw)
    except (OSError, DeploykitError):
        return ""
    return whole.hexdigest()


def _parts(
    gate: Gate, root: Path, settings: Settings, *, tree: str, environment: Mapping[str, str], base: str
) -> Iterator[str | bytes]:
    yield from (_FORM, gate.name, repr(gate), str(root), tree, base)
    yield from (_kit(), sys.version, environment_key(), repr(project_needs(settings)))
    audit, secrets = settings.security.audit, settings.security.secrets
    for name in (
        "pyproject.toml",
        "uv.lock",
        settings.service.requirements,
        *settings.tests.requirements,
        audit.requirements,
        secrets.baseline,
    ):
        yield from (name, _content(root / name) if name else b"")
    for name, value in sorted(environment.items()):
        if name not in _PASSING and not name.startswith(_PASSING_STARTS):
            yield f"{name}={value}"
    if gate.name == "audit":
        given = environment.get(_ADVISORIES_VARIABLE) or audit.advisories
        yield _copy(root / Path(given).expanduser()) if given else b"online"
    if gate.name == "migrations":
        if settings.migrations.server_version == "ask":
            raise InconclusiveError("what a database answers is no file")
        yield _git(root, "describe", "--tags", "--always", "--abbrev=40", "--match", "v[0-9]*")
    if gate.name == "coverage":
        yield from _measured(root)
        for revision in ("HEAD", base or settings.coverage.base, "origin/main", "main"):
            yield _commit(root, revision) if revision else ""


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
    """Whether git's hash covers every file: none is marked as unchanged, in conflict, or another repository's."""
    try:
        listed = run(["git", "ls-files", "-v", "--stage", "-z"], cwd=root, timeout=60, check=False)
    except (DeploykitError, OSError):
        return False
    entries = [entry for entry in listed.stdout.split("\0") if entry]
    return listed.returncode == 0 and all(
        entry.startswith("H ") and not entry.startswith("H 160000") for entry in entries
    )


def _commit(root: Path, revision: str) -> str:
    return _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")


def _git(root: Path, *words: str) -> str:
    return run(["git", *words], cwd=root, timeout=60, check=False).stdout


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
