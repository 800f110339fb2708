"""How far the gates of `invoke ci` are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploykit.model import Verdict

__all__ = ["Progress"]


@dataclass
class Progress:
    """What has come of each gate so far. `started` are seconds of the monotonic clock."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    started: dict[str, float] = field(default_factory=dict)
    cached: frozenset[str] = frozenset()
