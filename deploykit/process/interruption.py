"""Work that a signal's exception must not tear apart: a transaction would stay open, and lock out its own process.

A signal handler that raises does so between any two instructions of the main thread. `interrupt` is how such a handler
acts, and `uninterrupted` marks the blocks that are left whole first. A block is to be short: until its end nobody is
heard.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["interrupt", "uninterrupted"]


class _Mask:
    """Of the main thread: Python runs signal handlers there and nowhere else."""

    depth = 0
    waiting: Callable[[], None] | None = None


@contextmanager
def uninterrupted() -> Iterator[None]:
    """What `interrupt` is given meanwhile is done at the end of the outermost block; in other threads nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Mask.depth += 1
    try:
        yield
    finally:
        _Mask.depth -= 1
        if not _Mask.depth and _Mask.waiting is not None:
            act, _Mask.waiting = _Mask.waiting, None
            act()


def interrupt(act: Callable[[], None]) -> None:
    """From a signal handler: do `act`, which may raise, now or as soon as nothing is torn by it. The latest one counts."""
    if _Mask.depth:
        _Mask.waiting = act
    else:
        act()
