"""The line below all others that shows that something is at work, and lines below it that show what.

One lock is held for the time of one write: threads that tell something (a lost lock, the answer to a signal) draw, too.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
        self._below: tuple[str, ...] = ()
        self._turn = 0
        self._stopped: threading.Event | None = None

    def start(self, text: str) -> None:
        self.stop()
        with self._lock:
            self._text, self._below = text, ()
            self._stopped = threading.Event()
            self._write(_HIDE + _ERASE + self._drawn())
            threading.Thread(target=self._spin, args=(self._stopped,), name="spinner", daemon=True).start()

    def stop(self) -> None:
        with self._lock:
            if self._stopped is not None:
                self._stopped.set()
                self._stopped = None
                self._write(self._erase() + _SHOW)

    def show_below(self, lines: Sequence[str]) -> None:
        """Show these lines below the one that turns, in place of those before. None may be wider than the terminal."""
        with self._lock:
            if self._stopped is not None:
                erase, self._below = self._erase(), tuple(lines)
                self._write(erase + self._drawn())

    def print_above(self, text: str) -> None:
        """Print it, above the line if there is one."""
        with self._lock:
            self._write(f"{self._erase() if self._stopped is not None else ''}{text}\n")
            if self._stopped is not None:
                self._write(_ERASE + self._drawn())

    def _draw(self) -> None:
        if self._stopped is not None:
            self._write(self._erase() + self._drawn())

    def _erase(self) -> str:
        """Take away what is drawn; the cursor, on its last line, is at its beginning then."""
        return f"\r\x1b[{len(self._below)}A\x1b[J" if self._below else _ERASE

    def _drawn(self) -> str:
        turning = f"{self._frames[self._turn % len(self._frames)]} {self._text} {self._more}"
        return "\n".join([turning, *self._below])

    def _spin(self, stopped: threading.Event) -> None:
        while not stopped.wait(_SECONDS):
            with self._lock:
                if not stopped.is_set():
                    self._turn += 1
                    self._draw()
