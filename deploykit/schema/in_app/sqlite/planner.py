"""The plan of a declared change on SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import columns, constraints, tables  # noqa: F401 - each registers its plans
from .plan import PLANS

if TYPE_CHECKING:
    from ..changes.model import Change
    from .plan import Plan, TableReader

__all__ = ["PLANS", "make_plan"]


def make_plan(change: Change, reader: TableReader) -> Plan:
    """Plan the change on this database. Raises Refused for what SQLite can't do."""
    return PLANS[change.kind](change, reader)
