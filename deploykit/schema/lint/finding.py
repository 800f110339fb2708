"""One rule's finding at one place."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Finding"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A finding. `statement` is the index of the statement in its revision, -1 for none.

    It joins the findings of two engines.
    """

    rule: str
    message: str
    revision: str = ""
    path: str = ""
    line: int = 0
    why: str = ""
    lock: str = ""
    how_long: str = ""
    rewrite: str = ""
    engine: str = "deploykit"
    statement: int = -1

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "statement"}
