"""A baseline in which a merge of git left two sides: one baseline with the entries and the labels of both."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from deploykit.gates.secretscan.baseline import Baseline, Entry, Key, parse_baseline
from deploykit.gates.secretscan.git import text_of
from deploykit.model import InconclusiveError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Merged", "merge_conflict", "merged"]

_SIDES = re.compile(
    r"^<{7}[^\n]*\n(?P<ours>.*?)(?:^\|{7}[^\n]*\n.*?)?^={7}\n(?P<theirs>.*?)^>{7}[^\n]*\n?", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True, kw_only=True)
class Merged:
    """`disputed` are entries that one side labels as real and the other as none: they have no label any more."""

    baseline: Baseline
    disputed: tuple[Key, ...]


def merge_conflict(root: Path, name: str) -> Merged | None:
    """The merge of the two sides of the file `name`; None where there is no conflict in it.

    They are what git keeps of them, else what the marks in the file say. Raises InconclusiveError when one of them is
    no baseline.
    """
    try:
        text = (root / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    if not _SIDES.search(text):
        return None
    kept = [text_of(root, name, of=stage) for stage in (":2", ":3")]
    marked = [_SIDES.sub(rf"\g<{side}>", text) for side in ("ours", "theirs")]
    both = kept if all(kept) else marked
    try:
        ours, theirs = (parse_baseline(side or "", name) for side in both)
    except InconclusiveError as error:
        raise InconclusiveError(
            f"{name} has two sides of a merge, and one of them is no baseline",
            details=error.details,
            next_step=(
                f"git checkout --merge -- {shlex.quote(name)}, to have both sides back, then: invoke secrets.baseline"
            ),
        ) from error
    return merged(ours, theirs)


def merged(ours: Baseline, theirs: Baseline) -> Merged:
    """The entries of both sides, each with the label that it has on either. Of settings that differ those are taken
    with which more is found: every plug-in, and the filters of both.
    """
    entries = dict(ours.entries)
    disputed = []
    for key, entry in theirs.entries.items():
        known = entries.get(key, Entry())
        labels = {known.is_secret, entry.is_secret} - {None}
        if len(labels) > 1:
            disputed.append(key)
        entries[key] = Entry(
            is_secret=labels.pop() if len(labels) == 1 else None, is_verified=known.is_verified or entry.is_verified
        )
    names = {plugin["name"] for plugin in ours.plugins}
    return Merged(
        baseline=replace(
            ours,
            plugins=(*ours.plugins, *(plugin for plugin in theirs.plugins if plugin["name"] not in names)),
            filters=_in_both(ours.filters, theirs.filters),
            entries=entries,
        ),
        disputed=tuple(sorted(disputed)),
    )


def _in_both(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    return tuple(item for item in ours if item in theirs)
