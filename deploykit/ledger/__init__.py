"""The record: journal, releases, evidence, timers, lock, in one hash chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.ledger.interface import (
    ChainProblem,
    Entry,
    Held,
    Ledger,
    LockHeld,
    StaleToken,
    Step,
    StepState,
    Timer,
)
from deploykit.ledger.lease import Heartbeat, hold

if TYPE_CHECKING:
    from deploykit.ledger.sql import SqlLedger, open_ledger

__all__ = [
    "ChainProblem",
    "Entry",
    "Heartbeat",
    "Held",
    "Ledger",
    "LockHeld",
    "SqlLedger",
    "StaleToken",
    "Step",
    "StepState",
    "Timer",
    "hold",
    "open_ledger",
]


def __getattr__(name: str) -> object:
    # Only those who open a ledger pay for what it takes.
    if name in {"SqlLedger", "open_ledger"}:
        from deploykit.ledger import sql

        return getattr(sql, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
