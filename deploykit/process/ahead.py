"""Something that will be wanted soon, begun beside what is done before it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Ahead", "Gate", "Unwanted"]

Answer = TypeVar("Answer")


class Unwanted(Exception):
    """Nobody wants it any more."""


class Gate:
    """Where work that was begun ahead waits until it may change something, and hears that nobody wants it any more."""

    def __init__(self) -> None:
        self._decided = threading.Event()
        self._elsewhere = threading.Event()
        self.closed = False

    def open(self) -> None:
        self._decided.set()

    def close(self) -> None:
        """It was refused, or is over: whoever waits here, or looks at `closed`, ends."""
        self.closed = True
        self._decided.set()

    def leave(self) -> None:
        """From here on it is another program that works, or nobody: this process is idle."""
        self._elsewhere.set()

    def left(self, seconds: float) -> bool:
        """Wait so long for that; whether it came to it."""
        return self._elsewhere.wait(seconds)

    def wait(self) -> None:
        """Raises Unwanted."""
        self._decided.wait()
        if self.closed:
            raise Unwanted


class Ahead(Generic[Answer]):
    """`act` in a thread of its own, from now on. It must change nothing that counts: nobody may ask for its answer.

    A command that ends sooner does not wait for it.
    """

    def __init__(self, act: Callable[[], Answer]) -> None:
        self._act = act
        self._answer: Answer | None = None
        self._error: BaseException | None = None
        self._turn = threading.Lock()
        self._ended = False
        self._let_go: Callable[[Answer], object] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._answer = self._act()
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is asked for
            self._error = error
        with self._turn:
            self._ended = True
        self._drop()

    def forget(self, let_go: Callable[[Answer], object]) -> None:
        """Nobody will ask for its answer: that is let go of, now or as soon as it is there; nobody waits for it."""
        with self._turn:
            self._let_go = let_go
        self._drop()

    def _drop(self) -> None:
        with self._turn:
            if not self._ended or self._error is not None or self._let_go is None:
                return
            let_go, self._let_go = self._let_go, None
        let_go(self._answer)  # type: ignore[arg-type]  # there is one, where there was no error

    def left(self, seconds: float) -> bool:
        """Wait so long for its end; whether it goes on all the same."""
        self._thread.join(seconds)
        return self._thread.is_alive()

    def get(self) -> Answer:
        """Wait for it; what it raised is raised here."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._answer  # type: ignore[return-value]  # there is one, where there was no error
