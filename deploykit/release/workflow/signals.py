"""SIGINT, SIGTERM and SIGHUP cancel a release; a thread receives them.

The handlers do nothing. Python's own, in C, writes the signal's number into a pipe, also while the main thread is
held up in a call of some library; the thread reads it:

- The first signal cancels: the main flow notices, and undoes what it has begun.
- The second one is answered. Where the first was not noticed, the process ends after 2 seconds.
- The third one ends the process at once, as `kill -9` would: its journal makes that safe.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from deploykit.process.run import ending_programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

    from deploykit.process.cancellation import Cancellation

__all__ = ["listening"]

_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "the terminal went away"}
_NOTICE_SECONDS = 2.0


@contextmanager
def listening(cancellation: Cancellation, tell: Callable[[str], None], *, ends_process: bool = False) -> Iterator[None]:
    """Within the block signals cancel; before and after it they do what they did. In a thread other than the main one
    nothing is changed.

    Signals that were ignored when the process started (`nohup`, a shell's `&`) stay ignored. `tell` gets the answer
    to a signal that can't be acted on, in a thread.

    `ends_process`: after the block the process only reports and ends. One signal is ignored then, since it could only
    cut off the report and the exit code.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {
        number: old for number in _NAMES if (old := signal.getsignal(number)) is not signal.SIG_IGN
    }
    reading, writing = os.pipe()
    os.set_blocking(writing, False)  # `set_wakeup_fd` wants that
    watcher = _Watcher(reading, cancellation, tell)
    watcher.start()
    earlier = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    _handle(dict.fromkeys(before, _nothing))
    try:
        with ending_programs(cancellation):
            yield
    finally:
        cancellation.mask()
        signal.set_wakeup_fd(earlier)
        _handle(dict.fromkeys(before, _LastWords(before).handle) if ends_process else before)
        os.close(writing)
        watcher.join()
        os.close(reading)


class _Watcher(threading.Thread):
    """Acts on the signals whose numbers come through the pipe `reading`, until its other end is closed."""

    def __init__(self, reading: int, cancellation: Cancellation, tell: Callable[[str], None]) -> None:
        super().__init__(name="signals", daemon=True)
        self._reading = reading
        self._cancellation = cancellation
        self._tell = tell
        self._received: list[int] = []
        self._answers: list[threading.Thread] = []

    def run(self) -> None:
        while numbers := os.read(self._reading, 64):
            for number in numbers:
                # When a terminal goes away, the kernel and the shell may each send a SIGHUP. It counts once.
                if number in _NAMES and not (number == signal.SIGHUP and number in self._received):
                    self._deliver(signal.Signals(number))
        for answer in self._answers:
            answer.join()

    def _deliver(self, number: signal.Signals) -> None:
        self._received.append(number)
        name, safe = _NAMES[number], "the traffic is being made safe first; this ends by itself"
        if len(self._received) == 1:
            masked = self._cancellation.masked
            self._cancellation.cancel(f"cancelled by {name}")
            if masked:
                self._answer(f"{name}: {safe}")
        elif len(self._received) == 2 and self._cancellation.noticed(_NOTICE_SECONDS):
            self._answer(
                f"{name}: {safe}. One more signal ends it at once and leaves it unfinished, for: invoke rollback"
            )
        else:
            os._exit(128 + number)  # what a shell says of a program that a signal has ended

    def _answer(self, sentence: str) -> None:
        """In a thread of its own: a terminal that blocks must not keep the next signal from counting."""
        thread = threading.Thread(target=self._tell, args=(sentence,), name="answer", daemon=True)
        thread.start()
        self._answers.append(thread)


class _LastWords:
    """After the outcome is known: the first signal is ignored, as the process only reports and ends. The next one does
    what it did before, so that a command whose output is not read can be ended.
    """

    def __init__(self, before: Mapping[int, Any]) -> None:
        self._before = before

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        _handle(self._before)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """A handler has to be there for Python to write to the pipe."""


def _handle(handlers: Mapping[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
