"""What a parser of one credential format is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["FormatRule", "Place"]


class Place(NamedTuple):
    """A secret value, and the line (from 1) where it begins."""

    line: int
    value: str


@dataclass(frozen=True, kw_only=True)
class FormatRule:
    """`id` names the rule in reports, `type` in baselines. `true` and `false`: an example each, as (path, text)."""

    id: str
    type: str
    applies: Callable[[str, str], bool]
    find: Callable[[str, str], Iterable[Place]]
    true: tuple[str, str]
    false: tuple[str, str]
