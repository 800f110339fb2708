"""Verdicts as files in the tree's work folder: how sessions that run in parallel exchange them.

Each is sealed (`process.seal`), and only a sealed one counts: anybody can write a file, or commit one.
"""

from __future__ import annotations

import json
import os
import shlex
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.gates.interface import WORK_FOLDER
from deploykit.model import DeploykitError, UsageError, Verdict
from deploykit.process.files import write_atomically
from deploykit.process.git import run_git
from deploykit.process.seal import is_sealed, sealed
from deploykit.settings.paths import state_home

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "prepare_work_folder",
    "read_recorded",
    "read_verdict",
    "record_verdict",
    "reject_foreign_evidence",
    "reject_links",
    "sealed_verdict",
    "verdict_path",
    "with_what_is_not_written",
]


def prepare_work_folder(root: Path) -> Path:
    """Make `.deploykit/`, which ignores itself so that it never dirties the tree.

    Raises UsageError when it can't be written, is or has a link, or is another user's.
    """
    folder = root / WORK_FOLDER
    reject_links(root)
    _reject_others(folder)
    try:
        folder.mkdir(exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            write_atomically(ignore, "*\n")
    except OSError as error:
        raise _unwritable(error) from error
    return folder


def reject_foreign_evidence(root: Path) -> None:
    """Raise UsageError where the work folder is tracked by git, is or has a link, or is another user's.

    Somebody else could have put evidence there. What seals don't cover, such as coverage data, must be ours as well.
    """
    folder = root / WORK_FOLDER
    if not os.path.lexists(folder):
        return
    reject_links(root)
    _reject_others(folder)
    tracked = ""
    with suppress(DeploykitError):  # no git: nothing is tracked, and nothing is bound to a tree
        tracked = run_git(root, "ls-files", "--", WORK_FOLDER).stdout
    if tracked:
        raise UsageError(
            f"{WORK_FOLDER} is tracked by git ({tracked.splitlines()[0]}): evidence that is committed is no evidence",
            next_step=f"git rm -r --cached {WORK_FOLDER} && git commit -m 'Keep evidence out of the repository'",
        )


def reject_links(root: Path) -> None:
    """Raise UsageError when the work folder or anything in it is a link: what is written would land wherever the tree
    says.

    It is looked at as deep as files are written by their names; deeper is only what tests have made themselves.
    """
    folder = root / WORK_FOLDER
    entries = [folder]
    for depth in ("", "*", "*/*"):
        entries += folder.glob(depth) if depth else []
        if link := next((entry for entry in entries if entry.is_symlink()), None):
            name = link.relative_to(root)
            why = f"{name} is a symbolic link, and the kit writes nothing through it"
            raise UsageError(why, next_step=f"rm {shlex.quote(str(name))}")


def _reject_others(folder: Path) -> None:
    own = [folder]
    with suppress(OSError):
        own += [Path(each.path) for each in os.scandir(folder) if each.is_dir(follow_symlinks=False)]
    for path in own:
        try:
            owner = path.lstat().st_uid
        except FileNotFoundError:
            continue  # not there yet, or a session that runs beside this one has removed it
        if owner != os.geteuid():
            raise UsageError(
                f"{path} belongs to another user (uid {owner}), so what is there is no evidence",
                next_step=f"rm -r {shlex.quote(str(folder))}, then type the same again",
            )


def verdict_path(root: Path, gate: str) -> Path:
    return root / WORK_FOLDER / "verdicts" / f"{gate}.json"


def record_verdict(root: Path, verdict: Verdict, *, run: str = "", now: float | None = None) -> Path:
    """Write the verdict, wholly or not at all. `run` names the nox run that it belongs to.

    Raises UsageError when it can't be written. An earlier verdict does not stay in its place.
    """
    path = verdict_path(root, verdict.gate)
    content = verdict.as_json() | {"recorded_at": time.time() if now is None else now, "run": run}
    try:
        prepare_work_folder(root)
        try:
            write_atomically(path, json.dumps(_sealed(content), indent=2) + "\n", mode=0o600)
        except (OSError, UsageError):
            with suppress(OSError):
                path.unlink()
            raise
    except OSError as error:
        raise _unwritable(error) from error
    return path


def _sealed(content: dict[str, Any]) -> dict[str, Any]:
    state = state_home()
    try:
        return sealed(content, state)
    except OSError as error:
        raise UsageError(
            f"a verdict can't be sealed, since the state folder {state} can't be used: {error.strerror}",
            next_step="name a folder of yours by DEPLOYKIT_STATE_DIR",
        ) from error


def with_what_is_not_written(verdict: Verdict, *writers: Callable[[Verdict], object]) -> Verdict:
    """Have each of the writers write the verdict; it gets a note of what can't be written. What was judged stands."""
    notes = []
    for write in writers:
        try:
            write(verdict)
        except (UsageError, OSError) as error:
            notes.append(f"not written: {error}")
    notes = [*verdict.evidence.notes, *dict.fromkeys(notes)]
    return replace(verdict, evidence=replace(verdict.evidence, notes=tuple(notes)))


def _unwritable(error: OSError) -> UsageError:
    return UsageError(
        f"the folder {WORK_FOLDER} of the tree can't be written: {error.strerror}",
        next_step="make the tree writable, or look at a copy of it that is",
    )


def read_recorded(root: Path, gate: str) -> tuple[Verdict, dict[str, Any]] | None:
    """The recorded verdict and the whole object it was read from; None when there is none that counts."""
    try:
        content = json.loads(verdict_path(root, gate).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    verdict = sealed_verdict(content, gate)
    return None if verdict is None else (verdict, content)


def sealed_verdict(content: object, gate: str) -> Verdict | None:
    """The verdict of that gate in a JSON object, where it was sealed with this machine's key."""
    if not isinstance(content, dict) or not is_sealed(content, state_home()):
        return None
    try:
        verdict = Verdict.from_json(content)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return verdict if verdict.gate == gate else None


def read_verdict(root: Path, gate: str) -> Verdict | None:
    recorded = read_recorded(root, gate)
    return recorded[0] if recorded else None
