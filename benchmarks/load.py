"""Keep-alive clients that never retry, and what they saw: who answered when, what was lost, the longest wait."""

from __future__ import annotations

import enum
import http.client
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PAGE", "Answer", "Clients", "Kind", "kind_of", "longest_gap"]

PAGE = "maintenance"
"""What a maintenance page has to say, to be known as one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One request: when it was sent and answered (monotonic seconds), what it said, what was wrong with it.

    `status` is 0 where there was no answer. `by_app`: the app said so itself, and not the proxy.
    """

    client: int
    sent: float
    answered: float
    text: str
    problem: str
    status: int = 200
    by_app: bool = True


class Kind(enum.Enum):
    """What a user has of an answer."""

    GOOD = "good"
    FAILED = "failed"
    """The app's own answer, which is an error."""
    MAINTENANCE = "maintenance"
    LOST = "lost"
    """No answer, or one of the proxy alone, such as 502 or 503."""


def kind_of(answer: Answer) -> Kind:
    if answer.by_app and answer.status:
        return Kind.GOOD if answer.status == 200 else Kind.FAILED
    return Kind.MAINTENANCE if answer.status == 503 and answer.text.strip() == PAGE else Kind.LOST


class Clients:
    """So many threads with one connection each; `pause` seconds between an answer and the next request.

    Every second one sends POST where `posts` is set: the proxy may send a GET again, and never a POST.
    """

    def __init__(
        self, url: str, *, clients: int = 4, pause: float = 0.01, limit: float = 240.0, posts: bool = False
    ) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port
        self.clients, self.pause = clients, pause
        self._limit, self._posts = limit, posts
        self._answers: list[Answer] = []  # appending is atomic
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        self._until = time.monotonic() + self._limit
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(self.clients)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, number: int) -> None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=30)
        method, body = ("POST", b"x" * 100) if self._posts and number % 2 else ("GET", None)
        while not self._stop.is_set() and time.monotonic() < self._until:
            sent = time.monotonic()
            text = problem = ""
            status, by_app = 0, False
            try:
                connection.request(method, "/", body=body)
                answer = connection.getresponse()
                text = answer.read().decode(errors="replace")
                status, by_app = answer.status, "X-Version" in answer.headers
                problem = "" if answer.status == 200 else f"status {answer.status}"
            except (OSError, http.client.HTTPException) as error:
                problem = f"{type(error).__name__}: {error}"
                connection.close()
            self._answers.append(Answer(number, sent, time.monotonic(), text, problem, status, by_app))
            self._stop.wait(self.pause)
        connection.close()

    def since(self, moment: float) -> Sequence[Answer]:
        """What was answered after the moment, in the order of the answers."""
        found = [answer for answer in self._answers if answer.answered >= moment]
        return sorted(found, key=lambda answer: answer.answered)

    def wait_for(self, text: str, *, since: float, seconds: float = 10.0) -> None:
        """Return when each client was answered with the text. Raises RuntimeError when that takes too long."""
        until = time.monotonic() + seconds
        while len({answer.client for answer in self.since(since) if answer.text == text}) < self.clients:
            if time.monotonic() > until:
                raise RuntimeError(f"not every client was answered {text!r} within {seconds:g} s")
            time.sleep(0.005)


def longest_gap(answers: Sequence[Answer]) -> float:
    """The longest time between two answers of the same client, its own pause included; seconds."""
    last: dict[int, float] = {}
    longest = 0.0
    for answer in answers:
        if answer.client in last:
            longest = max(longest, answer.answered - last[answer.client])
        last[answer.client] = answer.answered
    return longest
