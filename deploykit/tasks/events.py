"""Events of a release for programs: one JSON object a line, as they happen, in a file of their own.

`--json` stays one document on standard output, and what people read stays on standard error.
"""

from __future__ import annotations

import io
import json
import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deploykit.model import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploykit.release.reporting.live_view import LiveView
    from deploykit.release.reporting.reporter import Reporter, Stage

__all__ = ["EventsReporter", "open_events"]


def open_events(path: str) -> io.FileIO:
    """The file, to append to; a new one is this user's own. A pipe's other end has to be open.

    Raises UsageError.
    """
    try:
        # Without O_NONBLOCK a pipe that nobody reads would hold the release up for good.
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"events can't be written to {path}: {why}",
            next_step="name another file, such as: --events events.jsonl",
        ) from error
    return io.FileIO(descriptor, "w")


@dataclass
class EventsReporter:
    """Implements `Reporter`: writes each event, and passes it on to another reporter.

    An event has its name (`event`), the seconds since the epoch (`at`), and what it is about. Where the file can't be
    written any more, no more is written, and the other reporter says so once; the release goes on.
    """

    to: Reporter
    file: io.FileIO
    clock: Callable[[], float] = time.time
    _lost: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def stage_started(self, name: str) -> None:
        self._write("stage_started", {"name": name})
        self.to.stage_started(name)

    def stage_ended(self, stage: Stage) -> None:
        self._write("stage_ended", stage.as_json())
        self.to.stage_ended(stage)

    def note(self, text: str) -> None:
        self._write("note", {"text": text})
        self.to.note(text)

    def warn(self, text: str) -> None:
        self._write("warning", {"text": text})
        self.to.warn(text)

    def view(self, view: LiveView) -> None:
        self._write("rollout", view.as_json())
        self.to.view(view)

    def _write(self, event: str, data: dict[str, Any]) -> None:
        line = json.dumps({"event": event, "at": round(self.clock(), 3), **data}).encode() + b"\n"
        with self._lock:
            if self._lost:
                return
            try:
                self._lost = self.file.write(line) != len(line)
            except OSError:
                self._lost = True
        if self._lost:
            self.to.warn("events can't be written any more")
