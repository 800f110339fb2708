"""The steps that a declared change takes on a given server."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .operations import load
from .operations.registry import PLANNERS
from .uses import uses

if TYPE_CHECKING:
    from .model import Change, Steps
    from .schema_reader import SchemaReader

__all__ = ["plan"]


def plan(change: Change, reader: SchemaReader) -> Steps:
    """Plan the change for this server. Raises Refused for anything that can't be made safe."""
    load()
    return replace(PLANNERS[change.kind](change, reader), uses=uses(change, reader))
