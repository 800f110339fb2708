"""Lines of several containers as they come, through their restarts."""

from __future__ import annotations

import contextlib
import datetime as dt
import queue
import threading
from typing import TYPE_CHECKING

from deploykit.model import DeploykitError
from deploykit.process.docker import Engine, Stream, timed_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


__all__ = ["follow"]

_AGAIN_SECONDS = 0.2
_ATTACH_SECONDS = 10.0


def follow(engine: Engine, containers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(name, line) for what the containers (name to container) print from the time of this call on."""
    lines: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
    readers = [_Reader(engine, name, container, lines) for name, container in containers.items()]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.attached.wait(_ATTACH_SECONDS)

    def given() -> Iterator[tuple[str, str]]:
        try:
            while True:
                with contextlib.suppress(queue.Empty):
                    yield lines.get(timeout=1.0)
        finally:
            for reader in readers:
                reader.end()

    return given()


class _Reader(threading.Thread):
    """Reads one container's log, again and again as it restarts, until `end`."""

    def __init__(self, engine: Engine, name: str, container: str, lines: queue.SimpleQueue[tuple[str, str]]) -> None:
        super().__init__(daemon=True, name=f"logs of {name}")
        self.attached = threading.Event()
        self._engine = engine
        self._named = name
        self._container = container
        self._lines = lines
        self._done = threading.Event()
        self._stream: Stream | None = None

    def end(self) -> None:
        self._done.set()
        if self._stream is not None:
            self._stream.end()

    def run(self) -> None:
        last = ""
        while not self._done.is_set():
            begin = {"since": _seconds(last)} if last else {"tail": 0}
            with contextlib.suppress(DeploykitError):  # it is not there, or not any more; it may come back
                self._stream = self._engine.follow(self._container, timestamps=True, **begin)
                self.attached.set()
                for time, line in timed_lines(self._stream):
                    if time > last:
                        last = time
                        self._lines.put((self._named, line))
                    if self._done.is_set():
                        return
            self.attached.set()
            self._done.wait(_AGAIN_SECONDS)


def _seconds(time: str) -> int:
    """A whole second: what is given twice is left out by its time."""
    return int(dt.datetime.fromisoformat(f"{time[:19]}+00:00").timestamp())
