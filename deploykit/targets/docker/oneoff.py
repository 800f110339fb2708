"""Following a one-off container to its end, within its time."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from deploykit.model import DeploykitError
from deploykit.process.docker import Engine, LineReader
from deploykit.targets.docker.containers import exit_code
from deploykit.targets.docker.names import PREFIX, Kind, Names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


__all__ = ["ended_with", "remove_forgotten", "run_to_end"]

_TAIL = 20
_LOOK_SECONDS = 0.1
_FORGOTTEN_SECONDS = 3_600.0


def run_to_end(
    engine: Engine,
    container: str,
    program: str,
    timeout: float,
    on_line: Callable[[str], None] | None,
    *,
    wait: Callable[[float], None],
) -> tuple[int, list[str]]:
    """(exit code, output) of a container that was started.

    Raises OneOffTimedOut after `timeout` seconds, and what `wait` does.
    """
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(engine, container, lines), daemon=True, name="one-off").start()
    output: list[str] = []
    deadline = time.monotonic() + timeout
    while True:
        try:
            wait(0)
            line = lines.get(timeout=_LOOK_SECONDS)
        except queue.Empty:
            if time.monotonic() < deadline:
                continue
            from deploykit.targets.process import OneOffTimedOut

            raise OneOffTimedOut(
                f"{program} did not end within {timeout:g} s and was ended", details=output[-_TAIL:]
            ) from None
        if line is None:
            break
        output.append(line)
        if on_line is not None:
            on_line(line)
    return ended_with(engine, container, program, details=output[-_TAIL:]), output


def remove_forgotten(engine: Engine, names: Names, release: str, *, clock: Callable[[], float] = time.time) -> None:
    """Remove containers that ended without a caller, who was killed: they have the app's secrets.

    Those of `release` stay, and for an hour all of them: their caller may come back for the result.
    """
    for each in engine.containers(names.labels(Kind.ONE_OFF)):
        ended = each["State"] == "exited" and each["Created"] < clock() - _FORGOTTEN_SECONDS
        if ended and each["Labels"].get(f"{PREFIX}release") != release:
            engine.remove_container(each["Id"])


def ended_with(engine: Engine, container: str, program: str, *, details: Sequence[str] = ()) -> int:
    """The exit code of a container that has ended, negative for a signal. Raises DeploykitError when it is gone."""
    found = engine.find_container(container)
    if found is None or found["State"]["Status"] != "exited":
        raise DeploykitError(
            f"{program} was ended by somebody else, its exit code is not known",
            details=details,
            next_step="run the same command again",
        )
    return exit_code(found["State"]["ExitCode"])


def _read(engine: Engine, container: str, lines: queue.SimpleQueue[str | None]) -> None:
    """All its lines, then None when it has ended."""
    reader = LineReader()
    try:
        for piece in engine.follow(container):
            for line in reader.feed(piece):
                lines.put(line)
        for line in reader.last():
            lines.put(line)
        engine.wait(container)
    except DeploykitError:
        pass  # removed: the caller finds out
    finally:
        lines.put(None)
