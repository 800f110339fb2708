"""Wait for a version to be healthy, and when it isn't, say all that is known about why."""

from __future__ import annotations

import functools
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deploykit.model import DeploykitError
from deploykit.verify.http import Answer, NoAnswerError, body_excerpt, get

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["ExitInfo", "Healthy", "UnhealthyError", "wait_healthy"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.1
_REQUEST_LIMIT = 10.0
_LOG_LINES = 20
_NOT_YET = 503
"""RFC 9110, 15.6.4: temporarily unavailable.

What an application says that is still starting, so it gets all its time.
"""


_BAD_REQUEST = 400
"""What Django, Starlette and Werkzeug answer for a Host header that is not among the allowed ones."""


@dataclass(frozen=True, kw_only=True)
class ExitInfo:
    """The process ended: its exit code, negative for a signal, None when that is not known."""

    code: int | None

    def __str__(self) -> str:
        if self.code is None:
            return "it ended"
        return f"killed by signal {-self.code}" if self.code < 0 else f"exit code {self.code}"


@dataclass(frozen=True, kw_only=True)
class Healthy:
    """How long it took (seconds, from the first question), what it said last, and the version it named, if any."""

    seconds: float
    questions: int
    answer: Answer
    version: str


class UnhealthyError(DeploykitError):
    """It did not become healthy. `status` is the last HTTP status, `ended` how the process ended; None if neither."""

    status: int | None = None
    ended: ExitInfo | None = None


@dataclass
class _Seen:
    """What the last question gave. `judged_at`: when it first answered something that is no 'not yet'."""

    answer: Answer | None = None
    problem: str = ""
    judged_at: float | None = None


def wait_healthy(  # noqa: PLR0913 - an address, limits, and what is passed in for tests; by keyword
    url: str,
    *,
    timeout: float,
    version: str = "",
    ended: Callable[[], ExitInfo | None] = lambda: None,
    logs: Callable[[], Sequence[str]] = tuple,
    grace: float = 3.0,
    redact: Callable[[str], str] = str,
    next_step: str = "",
    fetch: Callable[..., Answer] = get,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Healthy:
    """Ask `url` at once and then every 5 to 100 ms until it answers 2xx; with `version`, a JSON answer that names
    another version is not it.

    Gives up as soon as `ended()` says how the process ended; after `timeout` seconds; and after `grace` seconds of
    answers that waiting will not fix (500, 404, a redirect, another version; 503 means "not yet"). Raises
    UnhealthyError with the status, the body's start, the redirect's target, the exit code and the last 20 `logs()`.
    """
    began = clock()
    seen = _Seen()
    pause = _FIRST_PAUSE
    questions = 0
    while True:
        if (end := ended()) is not None:
            raise _unhealthy(f"ended before it was healthy ({end})", url, seen, end, logs, redact, next_step)
        questions += 1
        left = timeout - (clock() - began)
        ask = functools.partial(fetch, url, timeout=max(min(left, _REQUEST_LIMIT), 0.05))
        _ask(seen, ask, version, clock, redact)
        # After the answer: on a port that the new process could not get, another one may be answering.
        if (end := ended()) is not None:
            raise _unhealthy(f"ended before it was healthy ({end})", url, seen, end, logs, redact, next_step)
        if seen.answer is not None and not seen.problem:
            return Healthy(
                seconds=clock() - began, questions=questions, answer=seen.answer, version=_version(seen.answer)
            )
        now = clock()
        if seen.judged_at is not None and now - seen.judged_at >= grace:
            raise _unhealthy(f"is not healthy: {seen.problem}", url, seen, None, logs, redact, next_step)
        if now - began + pause >= timeout:
            raise _unhealthy(
                f"was not healthy within {timeout:g} s: {seen.problem}", url, seen, None, logs, redact, next_step
            )
        sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def _ask(
    seen: _Seen,
    fetch: Callable[[], Answer],
    version: str,
    clock: Callable[[], float],
    redact: Callable[[str], str],
) -> None:
    try:
        answer = fetch()
    except NoAnswerError as error:
        seen.problem = redact(str(error))
        return
    seen.answer = answer
    seen.problem = _problem(answer, version)
    if answer.status == _NOT_YET:
        seen.judged_at = None
    elif seen.problem and seen.judged_at is None:
        seen.judged_at = clock()


def _problem(answer: Answer, version: str) -> str:
    """Why this answer is not healthy; empty when it is."""
    if answer.location:
        return f"it answers {answer.status}, a redirect to {answer.location}"
    if answer.status == _BAD_REQUEST:
        return "it answers 400: where it takes requests for its own names only, set service.health_host to one of them"
    if not 200 <= answer.status < 300:
        return f"it answers {answer.status}"
    said = _version(answer)
    if version and said and said != version:
        return f"it says that it is version {said}, and {version} was started"
    return ""


def _version(answer: Answer) -> str:
    try:
        data = json.loads(answer.body)
    except ValueError:
        return ""
    said = data.get("version") if isinstance(data, dict) else None
    return said if isinstance(said, str) else ""


def _unhealthy(  # noqa: PLR0913, PLR0917 - all that is known
    what: str,
    url: str,
    seen: _Seen,
    ended: ExitInfo | None,
    logs: Callable[[], Sequence[str]],
    redact: Callable[[str], str],
    next_step: str,
) -> UnhealthyError:
    parts = urlsplit(url)
    details = [f"asked: GET {parts.path or '/'} on port {parts.port or 80} of {parts.hostname}"]
    if seen.answer is None:
        details.append(f"answer: none ({seen.problem})" if seen.problem else "answer: none")
    else:
        details.append(f"last answer: status {seen.answer.status}")
        if seen.answer.location:
            details.append(f"redirect to: {redact(seen.answer.location)}")
        details.append(f"body: {body_excerpt(seen.answer, redact) or '(empty)'}")
    if ended is not None:
        details.append(f"process: {ended}")
    lines = [redact(line.rstrip("\n")) for line in logs()][-_LOG_LINES:]
    details += [f"last {len(lines)} log lines:", *(f"  {line}" for line in lines)] if lines else ["it logged nothing"]
    error = UnhealthyError(f"the new version {redact(what)}", details=details, next_step=next_step)
    error.status = seen.answer.status if seen.answer is not None else None
    error.ended = ended
    return error
