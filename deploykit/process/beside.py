"""Work that is done ahead in a process of its own, where a thread would only take turns with what comes before it."""

from __future__ import annotations

import contextlib
import os
import pickle  # nosec B403 - between this process and its own child
import select
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from deploykit.process.ahead import Gate

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import NoReturn

__all__ = ["Beside", "can_fork"]

_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_PATIENCE = 6.0
"""Seconds for a program to end that was asked to; see `process.run`."""


def can_fork() -> bool:
    """Whether a copy of this process would be whole: macOS' frameworks don't bear it, and threads are not copied."""
    return sys.platform == "linux" and threading.active_count() == 1


class Beside:
    """`act(gate, tell)` in a copy of this process, from now on; what it `tell`s is had here by `next`, in that order.

    It is out of the reach of this process's terminal, prints nothing, and ends with this process, however that ends: then
    its gate is closed. It must change nothing that counts before the gate is open. What goes wrong in it is not told.
    """

    def __init__(self, act: Callable[[Gate, Callable[[object], None]], None]) -> None:
        words, self._control = os.pipe()
        answers, told = os.pipe()
        # A signal that came to the copy before it is away from here would have it go on as if it were the original.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            self._child = os.fork()
            if self._child == 0:
                _serve(act, words, told, ours=(self._control, answers), mask=mask)
            os.close(words)
            os.close(told)
            self._answers = os.fdopen(answers, "rb")
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def next(self) -> Any:
        """Wait for what it tells next. Raises EOFError where it tells nothing more."""
        try:
            return pickle.load(self._answers)  # noqa: S301  # nosec B301 - from this process's own child
        except (pickle.UnpicklingError, ValueError):  # it was ended in the middle of a word, or closed
            raise EOFError from None

    def open(self) -> None:
        """Open its gate."""
        if self._control >= 0:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._control, b"o")

    def close(self) -> None:
        """Close its gate, and wait until it has ended."""
        control, self._control = self._control, -1  # a signal may come in here, and this be called again
        if control >= 0:
            os.close(control)
        ended = self._ends(_PATIENCE + 1)
        self._answers.close()
        with contextlib.suppress(ChildProcessError):  # it was waited for already
            os.waitpid(self._child, 0 if ended else os.WNOHANG)

    def _ends(self, seconds: float) -> bool:
        """Wait so long for its end, which closes its end of the pipe; what it still tells is for nobody."""
        until = time.monotonic() + seconds
        while not self._answers.closed:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                return False
            if not os.read(self._answers.fileno(), 1 << 16):
                return True
        return False  # it was closed before


def _serve(
    act: Callable[[Gate, Callable[[object], None]], None],
    words: int,
    told: int,
    *,
    ours: tuple[int, int],
    mask: Collection[int],
) -> NoReturn:
    """The copy's whole life. It leaves by `_exit`: what the original has registered for its end is not the copy's to do.

    `ours` are the original's ends of the pipes, `mask` the signals that it had blocked before.
    """
    code = 1
    try:
        os.setsid()
        for end in ours:
            os.close(end)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        gate = Gate()
        threading.Thread(target=_listen, args=(words, gate), daemon=True).start()

        def tell(what: object) -> None:
            data = pickle.dumps(what)
            while data:
                data = data[os.write(told, data) :]

        act(gate, tell)
        code = 0
    except BaseException:  # noqa: BLE001, S110  # nosec B110 - whoever asked sees that it tells nothing, and does it itself
        pass
    finally:
        os._exit(code)


def _listen(words: int, gate: Gate) -> None:
    while os.read(words, 1):
        gate.open()
    gate.close()
    time.sleep(_PATIENCE)  # for what looks at the gate to end its programs
    os._exit(1)
