"""Labelled probes: the kit's own requests, through the edge, to one release."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.process.cancellation import NEVER, Cancellation
from deploykit.verify.http import Connection, NoAnswerError, body_excerpt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from deploykit.verify.smoke import Check


__all__ = ["Probe", "ProbePath", "probe", "probe_paths"]

_MEANWHILE_SECONDS = 1.0


@dataclass(frozen=True)
class ProbePath:
    """What a probe asks for. `status` 0: anything below 500 is right."""

    path: str
    status: int = 0


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One request that was sent: when it began by the caller's clock (seconds), the milliseconds until its answer as a
    client sees them, and what is wrong with that in words, empty where nothing is.
    """

    path: str
    began: float
    ms: float
    problem: str = ""


def probe_paths(health: str, checks: Sequence[Check] = ()) -> tuple[ProbePath, ...]:
    """What probes ask for: the health path, and the paths of smoke checks with the status they want.

    Of the checks, those that are plain GETs and come before any other one: what follows may need what a POST has
    changed, or a cookie.
    """
    plain = itertools.takewhile(_is_plain, checks)
    return (ProbePath(health, 200), *(ProbePath(check.path, check.status) for check in plain if check.path != health))


def _is_plain(check: Check) -> bool:
    return bool(check.path) and check.method == "GET" and not (check.headers or check.body or "{random}" in check.path)


def probe(  # noqa: PLR0913 - an address, what to ask, limits; by keyword
    base: str,
    paths: Sequence[ProbePath],
    count: int,
    *,
    headers: Callable[[], Mapping[str, str]],
    connections: int = 4,
    timeout: float = 30.0,
    request_timeout: float = 10.0,
    meanwhile: Callable[[], None] = lambda: None,
    redact: Callable[[str], str] = str,
    clock: Callable[[], float] = time.monotonic,
    cancellation: Cancellation = NEVER,
) -> tuple[Probe, ...]:
    """Send `count` requests over a few keep-alive connections, taking the paths in turn; `headers()` is asked for each.

    After `timeout` seconds no new one is sent, so there may be fewer. No answer is wrong, a 5xx, and another status
    than a path wants. `meanwhile` is called about each second; where it raises, no new request is sent, and its error
    is raised here. Raises Cancelled.
    """
    deadline = clock() + timeout
    lock, stop = threading.Lock(), threading.Event()
    turns = iter(range(count))
    sent: list[Probe] = []

    def work() -> None:
        with contextlib.closing(Connection(base, timeout=request_timeout, cancellation=cancellation)) as connection:
            while not stop.is_set() and clock() < deadline:
                with lock:
                    turn = next(turns, None)
                    label = headers() if turn is not None else {}
                if turn is None:
                    return
                path, began = paths[turn % len(paths)], clock()
                ms, problem = _one(connection, path, label, redact)
                with lock:
                    sent.append(Probe(path=path.path, began=began, ms=ms, problem=problem))

    with ThreadPoolExecutor(max_workers=max(min(connections, count), 1), thread_name_prefix="probe") as pool:
        workers = [pool.submit(work) for _ in range(min(connections, count))]
        try:
            while wait(workers, timeout=_MEANWHILE_SECONDS, return_when=FIRST_EXCEPTION).not_done:
                if any(worker.done() and worker.exception() for worker in workers):
                    break
                meanwhile()
        finally:
            stop.set()
    for worker in workers:
        worker.result()
    return tuple(sent)


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
