"""One pinned list of packages that the audit looks into."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Subject"]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A pinned list for a scanner. `names` are the packages that it must answer for.

    `file` is the lock in the tree, empty where there is none, and `places` are the packages' lines in it.
    """

    label: str
    path: Path
    hashed: bool
    names: tuple[str, ...]
    file: str = ""
    places: Mapping[str, int] = field(default_factory=dict)
    pinned: tuple[tuple[str, str], ...] = ()
    """Name and version of each package, where the list itself says them."""
    notes: tuple[str, ...] = ()
    scanner: str = "pip-audit"
