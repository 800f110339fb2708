"""Labelled probes: the kit's own requests, through the edge, to one release."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.process.cancellation import NEVER, Cancellation
from deploykit.verify.http import Connection, NoAnswerError, body_excerpt
from deploykit.verify.judge import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


__all__ = ["PROBES", "ProbePath", "probe"]

PROBES = "probe requests"
_CAUSES = 5


@dataclass(frozen=True)
class ProbePath:
    """What a probe asks for. `status` 0: anything below 500 is right."""

    path: str
    status: int = 0


def probe(  # noqa: PLR0913 - an address, what to ask, limits; by keyword
    base: str,
    paths: Sequence[ProbePath],
    count: int,
    *,
    headers: Callable[[], Mapping[str, str]],
    connections: int = 4,
    timeout: float = 30.0,
    request_timeout: float = 10.0,
    redact: Callable[[str], str] = str,
    clock: Callable[[], float] = time.monotonic,
    cancellation: Cancellation = NEVER,
) -> Sample:
    """Send `count` requests over a few keep-alive connections, taking the paths in turn; `headers()` is asked for each.

    After `timeout` seconds no new one is sent, so there may be fewer. An error is no answer, a 5xx, or another status
    than a path wants. Latencies are milliseconds as a client sees them. Raises Cancelled.
    """
    deadline = clock() + timeout
    lock = threading.Lock()
    turns = iter(range(count))
    latencies: list[float] = []
    problems: list[str] = []
    crashed: list[BaseException] = []

    def work() -> None:
        connection = Connection(base, timeout=request_timeout, cancellation=cancellation)
        try:
            while clock() < deadline:
                with lock:
                    turn = next(turns, None)
                    label = headers() if turn is not None else {}
                if turn is None:
                    return
                ms, problem = _one(connection, paths[turn % len(paths)], label, redact)
                with lock:
                    latencies.append(ms)
                    problems.extend([problem] if problem else [])
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            crashed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, name=f"probe-{number}") for number in range(min(connections, count))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if crashed:
        raise crashed[0]
    return Sample(
        source=PROBES,
        requests=len(latencies),
        errors=len(problems),
        latencies_ms=tuple(latencies),
        causes=tuple(dict.fromkeys(problems))[:_CAUSES],
    )


def _one(
    connection: Connection, path: ProbePath, headers: Mapping[str, str], redact: Callable[[str], str]
) -> tuple[float, str]:
    began = time.perf_counter()
    try:
        answer = connection.get(path.path, headers)
    except NoAnswerError as error:
        return (time.perf_counter() - began) * 1000, f"GET {path.path}: {redact(str(error))}"
    if answer.status >= 500 or (path.status and answer.status != path.status):
        wanted = f", wanted {path.status}" if path.status else ""
        said = body_excerpt(answer, redact) or "(empty)"
        return answer.ms, f"GET {path.path}: status {answer.status}{wanted}; body: {said}"
    return answer.ms, ""
