"""Secrets in git's history: every version of every file, once.

What was looked at is remembered, so the next look is short.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploykit.gates.secretscan.cache import settings_key
from deploykit.gates.secretscan.findings import Secret
from deploykit.gates.secretscan.git import Change, commits, contents, history_changes, is_shallow, parents
from deploykit.gates.secretscan.reading import LARGEST
from deploykit.gates.secretscan.scan import scan_contents
from deploykit.model import InconclusiveError
from deploykit.process.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from deploykit.gates.secretscan.rules import Rules

__all__ = ["HistoryReport", "PastSecret", "scan_history", "state_path"]


@dataclass(frozen=True, kw_only=True, order=True)
class PastSecret:
    """A secret in a version of a file, and the newest commit that brought that version."""

    path: str
    secret: Secret
    commit: str


@dataclass(frozen=True, kw_only=True)
class HistoryReport:
    """`versions`: how many versions of files were looked at, ever; `fresh`: by this run.

    `missing`: not in this clone.
    """

    found: tuple[PastSecret, ...]
    commits: int
    versions: int
    fresh: int
    binary: int
    filtered: int
    missing: tuple[str, ...]


def state_path(folder: Path, root: Path) -> Path:
    """The state file of a tree, in the user's cache: it holds hashes, never values."""
    return folder / f"history-{hashlib.sha256(str(root).encode('utf-8', 'surrogateescape')).hexdigest()[:16]}.json"


def scan_history(root: Path, rules: Rules, *, state: Path) -> HistoryReport:
    """Look at what commits have brought since the last time with these rules, and give all that was ever found.

    What only commits had that no ref reaches any more is forgotten. Raises InconclusiveError for a shallow clone.
    """
    if is_shallow(root):
        raise InconclusiveError(
            "this clone is shallow, so most of its history is not here", next_step="git fetch --unshallow"
        )
    reached = commits(root)
    before = _load(state, settings_key(rules))
    rewritten = not set(before["commits"]) <= reached
    if rewritten or before["missing"]:
        before = _fresh(settings_key(rules))
    wanted: dict[tuple[str, str], Change] = {}
    for change in history_changes(root, known=before["tips"]):
        if change.kind == "file":
            wanted.setdefault((change.blob, change.path), change)
    by_blob: dict[str, list[Change]] = {}
    for change in wanted.values():
        by_blob.setdefault(change.blob, []).append(change)
    found, missing, binary, filtered = _look(root, by_blob, rules)
    everything = {
        *(PastSecret(path=path, secret=Secret(*secret), commit=commit) for path, secret, commit in before["found"]),
        *found,
    }
    after = {
        "settings": settings_key(rules),
        "commits": sorted(reached),
        "tips": sorted(reached - _parents(root, reached)),
        "found": [[past.path, list(past.secret), past.commit] for past in sorted(everything)],
        "versions": before["versions"] + len(wanted),
        "binary": before["binary"] + binary,
        "filtered": before["filtered"] + filtered,
        "missing": missing,
    }
    with suppress(OSError):  # without it the next scan looks at everything again
        write_atomically(state, json.dumps(after, separators=(",", ":")))
    return HistoryReport(
        found=tuple(sorted(everything)),
        commits=len(reached),
        versions=after["versions"],
        fresh=len(wanted),
        binary=after["binary"],
        filtered=after["filtered"],
        missing=tuple(missing),
    )


def _look(root: Path, by_blob: dict[str, list[Change]], rules: Rules) -> tuple[set[PastSecret], list[str], int, int]:
    found: set[PastSecret] = set()
    missing: list[str] = []
    binary = filtered = 0
    for blob, content in contents(root, list(by_blob)):
        changes = by_blob[blob]
        if content is None or len(content) > LARGEST:
            missing += [change.path for change in changes]
            continue
        report = scan_contents(((change.path, content) for change in changes), rules)
        missing += [path for path, _ in report.unreadable]
        binary += len(report.binary)
        filtered += len(report.filtered)
        for change in changes:
            for secret in report.secrets.get(change.path, ()):
                found.add(PastSecret(path=change.path, secret=secret, commit=change.commit))
    return found, missing, binary, filtered


def _parents(root: Path, reached: frozenset[str]) -> frozenset[str]:
    """Commits that are another one's parent; the others are the tips, which represent all."""
    return parents(root) & reached


def _fresh(settings: str) -> dict[str, Any]:
    counts: dict[str, Any] = dict.fromkeys(("versions", "binary", "filtered"), 0)
    return counts | {"settings": settings, "commits": [], "tips": [], "found": [], "missing": []}


def _load(state: Path, settings: str) -> dict[str, Any]:
    """What is remembered; nothing when other rules looked, or when the file is broken."""
    fresh = _fresh(settings)
    try:
        known = json.loads(state.read_bytes())
    except (OSError, ValueError):
        return fresh
    whole = isinstance(known, dict) and known.keys() == fresh.keys() and known["settings"] == settings
    return known if whole else fresh
