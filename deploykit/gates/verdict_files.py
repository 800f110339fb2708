"""Verdicts as files in the tree's work folder: how sessions that run in parallel exchange them."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from deploykit.gates.interface import WORK_FOLDER
from deploykit.model import Verdict
from deploykit.process.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["prepare_work_folder", "read_recorded", "read_verdict", "record_verdict", "verdict_path"]


def prepare_work_folder(root: Path) -> Path:
    """Make `.deploykit/`, which ignores itself so that it never dirties the tree."""
    folder = root / WORK_FOLDER
    folder.mkdir(exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        write_atomically(ignore, "*\n")
    return folder


def verdict_path(root: Path, gate: str) -> Path:
    return root / WORK_FOLDER / "verdicts" / f"{gate}.json"


def record_verdict(root: Path, verdict: Verdict, *, run: str = "", now: float | None = None) -> Path:
    """Write the verdict, wholly or not at all. `run` names the nox run that it belongs to."""
    prepare_work_folder(root)
    path = verdict_path(root, verdict.gate)
    content = verdict.as_json() | {"recorded_at": time.time() if now is None else now, "run": run}
    write_atomically(path, json.dumps(content, indent=2) + "\n", mode=0o600)
    return path


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
