"""Verdicts as files in the tree's work folder: how sessions that run in parallel exchange them."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from deploykit.gates.interface import WORK_FOLDER
from deploykit.model import UsageError, Verdict
from deploykit.process.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = [
    "prepare_work_folder",
    "read_recorded",
    "read_verdict",
    "record_verdict",
    "reject_links",
    "verdict_path",
    "with_what_is_not_written",
]


def prepare_work_folder(root: Path) -> Path:
    """Make `.deploykit/`, which ignores itself so that it never dirties the tree.

    Raises UsageError when it can't be written, and when it or anything in it is a link: what is written would land
    wherever the tree says.
    """
    reject_links(root)
    folder = root / WORK_FOLDER
    try:
        folder.mkdir(exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            write_atomically(ignore, "*\n")
    except OSError as error:
        raise _unwritable(error) from error
    return folder


def reject_links(root: Path) -> None:
    """Raise UsageError when the work folder or anything in it is a link.

    It is looked at as deep as files are written by their names; deeper is only what tests have made themselves.
    """
    folder = root / WORK_FOLDER
    entries = [folder]
    for depth in ("", "*", "*/*"):
        entries += folder.glob(depth) if depth else []
        if link := next((entry for entry in entries if entry.is_symlink()), None):
            name = link.relative_to(root)
            raise UsageError(f"{name} is a link, and the kit writes nothing through it", next_step=f"rm {name}")


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
        write_atomically(path, json.dumps(content, indent=2) + "\n", mode=0o600)
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        raise _unwritable(error) from error
    return path


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
    """The recorded verdict and the whole object it was read from; None when there is none, or an unreadable one."""
    try:
        content = json.loads(verdict_path(root, gate).read_text(encoding="utf-8"))
        return Verdict.from_json(content), content
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_verdict(root: Path, gate: str) -> Verdict | None:
    recorded = read_recorded(root, gate)
    return recorded[0] if recorded else None
