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
    """Turns from `start` to `stop`; output in between goes above it. `write` prints, and never raises."""

    def __init__(self, write: Callable[[str], None], *, encoding: str = "utf-8", coloured: bool = True) -> None:
        self._write = write
        plain = "utf" not in encoding.lower()
        frames, self._more = (_PLAIN, "...") if plain else (_FRAMES, "…")
        self._frames = [f"\x1b[32m{frame}\x1b[0m" if coloured else frame for frame in frames]
        self._lock = threading.Lock()
        self._text = ""
        self._turn = 0
        self._stopped: threading.Event | None = None

    def start(self, text: str) -> None:
        self.stop()
        with self._lock:
            self._text = text
            self._stopped = threading.Event()
            self._write(_HIDE)
            self._draw()
            threading.Thread(target=self._spin, args=(self._stopped,), name="spinner", daemon=True).start()

    def stop(self) -> None:
        with self._lock:
            if self._stopped is not None:
                self._stopped.set()
                self._stopped = None
                self._write(_ERASE + _SHOW)

    def print_above(self, text: str) -> None:
        """Print it, above the line if there is one."""
        with self._lock:
            self._write(f"{_ERASE if self._stopped is not None else ''}{text}\n")
            self._draw()

    def _draw(self) -> None:
        if self._stopped is not None:
            self._write(f"{_ERASE}{self._frames[self._turn % len(self._frames)]} {self._text} {self._more}")

    def _spin(self, stopped: threading.Event) -> None:
        while not stopped.wait(_SECONDS):
            with self._lock:
                if not stopped.is_set():
                    self._turn += 1
                    self._draw()
