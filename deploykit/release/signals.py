"""Ctrl-C and SIGTERM become `Cancelled`, until a rollout undoes itself: that must not be interrupted."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from deploykit.model.errors import Cancelled
from deploykit.process import interrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

__all__ = ["Cancellation", "cancellation"]

_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "the terminal went away"}


class Cancellation:
    """Turns the first signal into `Cancelled` in the main thread; after `shield()` signals are only noted, between
    `defer()` and `hear()` they are kept for later.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._shielded = False
        self._deferring = False
        self._deferred = ""
        self.reason = ""
        """Why it was cancelled, if it was: a cleanup on the way may have made another error of it."""

    def shield(self) -> None:
        self._shielded = True

    def unshield(self) -> None:
        """Cancellations are heard again (a recovery is over and the real work begins)."""
        self._shielded = False

    def defer(self) -> None:
        """What comes from now on waits until `hear()`: a lock is being taken, a record begun, and whoever gives it back
        or ends it is not at work yet.
        """
        self._deferring = True

    def hear(self) -> None:
        """Raise Cancelled if a signal came meanwhile; the next ones are heard at once again."""
        self._deferring = False
        if self._deferred and not self._shielded:
            self._cancel(self._deferred)

    def handle(self, number: int, _frame: FrameType | None) -> None:
        name = _NAMES.get(signal.Signals(number), signal.Signals(number).name)
        if self._shielded:
            # Later, where something is being printed at this very moment.
            interrupt(lambda: self._tell(f"{name}: the traffic is being made safe first; this ends by itself"))
            return
        if self._deferring:
            self._deferred = name
            return
        interrupt(lambda: self._heard(name))

    def _heard(self, name: str) -> None:
        if not self._shielded:
            self._cancel(name)

    def _cancel(self, name: str) -> None:
        self._shielded = True
        self.reason = f"cancelled by {name}"
        raise Cancelled(self.reason)


class _LastWords:
    """After the verdict: the first signal is let pass, as the process is about to say the verdict and end; the next one
    does what it did before, so that a command whose output nobody takes can be ended.
    """

    def __init__(self, before: Mapping[int, Any]) -> None:
        self._before = before

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        _restore(self._before)


def _restore(before: Mapping[int, Any]) -> None:
    for number, old in before.items():
        signal.signal(number, old)


@contextmanager
def cancellation(tell: Callable[[str], None], *, ends_process: bool = False) -> Iterator[Cancellation]:
    """Handle the signals inside the block, as they were handled before outside of it. In a thread: nothing is handled.

    Those that whoever started the process had it ignore (`nohup`, a shell's `&`) stay ignored.

    `ends_process`: after the block the process only says how it went and ends. A signal then, which could but cut its
    last words and its exit code, is let pass once.
    """
    handler = Cancellation(tell)
    if threading.current_thread() is not threading.main_thread():
        yield handler
        return
    before: dict[int, Any] = {
        number: old for number in _NAMES if (old := signal.getsignal(number)) is not signal.SIG_IGN
    }
    for number in before:
        signal.signal(number, handler.handle)
    try:
        yield handler
    finally:
        _restore(dict.fromkeys(before, _LastWords(before).handle) if ends_process else before)
