"""Cooperative cancellation: a request to stop is recorded; waits, and the points between actions, check it.

No signal handler raises an exception: that could happen between any two instructions, also while a lock of an import,
of logging or of the display is held, and then nothing would release it.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

from deploykit.model.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NEVER", "Cancellation"]

_POLL_SECONDS = 0.05
_Answer = TypeVar("_Answer")


class Cancellation:
    """Of one command. Any thread may cancel it, and any thread may look."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._noticed = threading.Event()
        self._first_reason = ""
        self._masked = False
        self.reason = ""
        """Why the work was cancelled, once `check` has raised: a cleanup on the way may make another error of it."""

    def cancel(self, reason: str) -> None:
        """Ask for the end of the work; the first reason counts."""
        if not self._requested.is_set():
            self._first_reason = reason
            self._requested.set()

    def check(self) -> None:
        """Raise Cancelled if that was asked for and may be acted on now."""
        if self._requested.is_set() and not self._masked:
            self.reason = self._first_reason
            self._noticed.set()
            raise Cancelled(self._first_reason)

    def wait(self, seconds: float) -> None:
        """Sleep. Raises Cancelled as soon as `check` would."""
        if self._masked:
            time.sleep(seconds)
        elif self._requested.wait(seconds):
            self.check()

    def call(self, function: Callable[[], _Answer]) -> _Answer:
        """The answer of `function`, a call that nothing can interrupt: made in a thread, which a cancellation leaves
        behind.

        What such a thread still does must harm nobody. Raises what `function` raises, and Cancelled.
        """
        if self._masked:
            return function()
        self.check()
        done = threading.Event()
        answers: list[_Answer] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                answers.append(function())
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                errors.append(error)
            done.set()

        threading.Thread(target=work, name="call", daemon=True).start()
        while not done.wait(_POLL_SECONDS):
            self.check()
        if errors:
            raise errors[0]
        return answers[0]

    @property
    def masked(self) -> bool:
        """Whether nothing acts on a cancellation now."""
        return self._masked

    def mask(self) -> None:
        """From now on nothing acts on a cancellation: the work undoes itself, or has to come to its end."""
        self._masked = True
        self._noticed.set()

    def unmask(self) -> None:
        """Cancellations count again, also one that came meanwhile."""
        self._masked = False
        self._noticed.clear()

    def noticed(self, seconds: float) -> bool:
        """Wait until the work has noticed the cancellation, or is masked from it; False when the time
        was over first.
        """
        return self._noticed.wait(seconds)


NEVER = Cancellation()
"""Of work that nothing cancels."""
