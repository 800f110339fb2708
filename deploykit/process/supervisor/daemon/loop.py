"""The event loop: waits for descriptors, signals and times, and calls what was asked for."""

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

    def __init__(self, when: float, act: Callable[[], None]) -> None:
        self.when = when
        self.act: Callable[[], None] | None = act

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when

    def cancel(self) -> None:
        self.act = None


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
                self.guard(key.data)
            while not self.done and self._timers and self._timers[0].when <= time.monotonic():
                act = heapq.heappop(self._timers).act
                if act is not None:
                    self.guard(act)

    def guard(self, act: Callable[[], None]) -> None:
        """A supervisor doesn't die of one defect: it is written down, and the others are still looked after."""
        try:
            act()
        except Exception:  # noqa: BLE001
            traceback.print_exc()

    def after(self, seconds: float, act: Callable[[], None]) -> Timer:
        timer = Timer(time.monotonic() + seconds, act)
        heapq.heappush(self._timers, timer)
        return timer

    def watch(self, file: int | socket.socket, act: Callable[[], None]) -> None:
        """Call `act` whenever there is something to read, until `unwatch`."""
        self._selector.register(file, selectors.EVENT_READ, act)

    def unwatch(self, file: int | socket.socket) -> None:
        self._selector.unregister(file)

    def watch_signals(self, act: Callable[[bytes], None]) -> None:
        """Call `act` with the numbers of the signals that came, of SIGCHLD and SIGTERM. Others do no harm."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_IGN)
        self.watch(wake_read, lambda: act(os.read(wake_read, 4096)))

    def close(self) -> None:
        self._selector.close()
