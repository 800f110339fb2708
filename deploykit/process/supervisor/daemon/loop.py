"""The event loop: it waits for descriptors, signals and timers, and calls the callbacks."""

from __future__ import annotations

import heapq
import os
import selectors
import signal
import time
import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable


class Timer:
    """A call that is due at `when`, in seconds of the monotonic clock."""

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when

    def cancel(self) -> None:
        self.callback = None


class Loop:
    """One thread's events. It runs until `done`."""

    def __init__(self) -> None:
        self.done = False
        self._selector = selectors.DefaultSelector()
        self._timers: list[Timer] = []

    def run(self) -> None:
        while not self.done:
            timeout = max(0.0, self._timers[0].when - time.monotonic()) if self._timers else None
            for key, _ in self._selector.select(timeout):
                self.call_safely(key.data)
            while not self.done and self._timers and self._timers[0].when <= time.monotonic():
                callback = heapq.heappop(self._timers).callback
                if callback is not None:
                    self.call_safely(callback)

    def call_safely(self, callback: Callable[[], None]) -> None:
        """Call it and log an exception: one defect must not stop the supervision of other programs."""
        try:
            callback()
        except Exception:  # noqa: BLE001
            traceback.print_exc()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(time.monotonic() + seconds, callback)
        heapq.heappush(self._timers, timer)
        return timer

    def watch(self, file: int | socket.socket, callback: Callable[[], None]) -> None:
        """Call `callback` whenever there is something to read, until `unwatch`."""
        self._selector.register(file, selectors.EVENT_READ, callback)

    def unwatch(self, file: int | socket.socket) -> None:
        self._selector.unregister(file)

    def watch_signals(self, callback: Callable[[bytes], None]) -> None:
        """Call `callback` with the numbers of the received signals (SIGCHLD and SIGTERM). Other signals are ignored."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_IGN)
        self.watch(wake_read, lambda: callback(os.read(wake_read, 4096)))

    def close(self) -> None:
        self._selector.close()
