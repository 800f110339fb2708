"""The line below all others that shows that something is at work.

One lock is held for the time of one write: threads that tell something (a lost lock, the answer to a signal) draw, too.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Spinner"]

_SECONDS = 0.1
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PLAIN = "|/-\\"
_ERASE = "\r\x1b[2K"
_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"


class Spinner:
    """Turns from `start` to `stop`; what is said in between stands above it. `put` writes, and never raises."""

    def __init__(self, put: Callable[[str], None], *, encoding: str = "utf-8", coloured: bool = True) -> None:
        self._put = put
        plain = "utf" not in encoding.lower()
        frames, self._more = (_PLAIN, "...") if plain else (_FRAMES, "…")
        self._frames = [f"\x1b[32m{frame}\x1b[0m" if coloured else frame for frame in frames]
        self._lock = threading.Lock()
        self._text = ""
        self._turn = 0
        self._over: threading.Event | None = None

    def start(self, text: str) -> None:
        self.stop()
        with self._lock:
            self._text = text
            self._over = threading.Event()
            self._put(_HIDE)
            self._draw()
            threading.Thread(target=self._work, args=(self._over,), name="spinner", daemon=True).start()

    def stop(self) -> None:
        with self._lock:
            if self._over is not None:
                self._over.set()
                self._over = None
                self._put(_ERASE + _SHOW)

    def say(self, text: str) -> None:
        """Print it, above the line if there is one."""
        with self._lock:
            self._put(f"{_ERASE if self._over is not None else ''}{text}\n")
            self._draw()

    def _draw(self) -> None:
        if self._over is not None:
            self._put(f"{_ERASE}{self._frames[self._turn % len(self._frames)]} {self._text} {self._more}")

    def _work(self, over: threading.Event) -> None:
        while not over.wait(_SECONDS):
            with self._lock:
                if not over.is_set():
                    self._turn += 1
                    self._draw()
