"""A limit on the processor time that the look into one file may take: an expression that is slow on it never ends.

Many of detect-secrets' expressions need time by the square of a line's length, and their findings are to be the same.
Python asks for signals also while it tries an expression (`Modules/_sre/sre_lib.h`), so an alarm ends it.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SECONDS", "OverBudget", "can_limit", "within"]

SECONDS = 10.0
"""Of processor time for a file, and one more for each megabyte: ten times what the slowest of real files needs."""

_Answer = TypeVar("_Answer")


class OverBudget(Exception):
    """The time was over before the answer."""


def can_limit() -> bool:
    """Whether this thread can be ended: signals come to the main thread only."""
    return threading.current_thread() is threading.main_thread()


def within(seconds: float, ask: Callable[[], _Answer]) -> _Answer:
    """What `ask` returns, within so many seconds of processor time of this process. Raises OverBudget.

    Only in the main thread (`can_limit`).
    """
    before = signal.signal(signal.SIGVTALRM, _ring)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds, 1.0)  # again: an exception may be lost in a destructor
        try:
            return ask()
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)  # if it rang just before
        signal.signal(signal.SIGVTALRM, before)


def _ring(_number: int, _frame: object) -> NoReturn:
    raise OverBudget
