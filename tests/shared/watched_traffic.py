"""A clock that only sleeping turns, and the traffic that an edge has seen by then."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deploykit.edge.interface import Mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from deploykit.release.execution.ledger_commands import Command


@dataclass
class Clock:
    now: float = 1000.0
    slept: int = 0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept += 1
        assert self.slept < 20_000, "it waits for ever"
        self.now += seconds


@dataclass(frozen=True, kw_only=True)
class Answered:
    """Implements `observed.Answer`."""

    release: str
    began: float
    ms: float = 20.0
    error: bool = False
    database_error: bool = False

    @property
    def ended(self) -> float:
        return self.began + self.ms / 1000


@dataclass
class WatchedEdge:
    """Implements `verification.VerifiedEdge`: answers are seen once they have ended. `ahead`: its own clock."""

    clock: Clock
    at: str = "http://127.0.0.1:1"
    ahead: float = 0.0
    seen: list[Answered] = field(default_factory=list)

    def users(self, answers: Iterable[Answered]) -> None:
        self.seen = sorted([*self.seen, *answers], key=lambda answer: answer.ended)

    def answers(self, since: Mark) -> tuple[Sequence[Answered], Mark]:
        ended = bisect_right(self.seen, self.clock.now + self.ahead, key=lambda answer: answer.ended)
        return self.seen[since.value["read"] : ended], Mark({"read": ended})

    def mark(self) -> Mark:
        return self.answers(Mark({"read": 0}))[1]

    def url(self) -> str:
        return self.at

    def probe_headers(self, release: str) -> Mapping[str, str]:
        return {"X-Deploykit-Probe": f"token:{release}"}


@dataclass
class Terminal:
    """Implements `orders.Commands`: what people ask, by the second in which they do."""

    clock: Clock
    asked: list[tuple[float, Command]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    def ask(self, command: Command, *, after: float = 0.0) -> None:
        self.asked.append((self.clock.now + after, command))

    def poll(self) -> Sequence[Command]:
        due = [command for at, command in self.asked if at <= self.clock.now]
        self.asked = [(at, command) for at, command in self.asked if at > self.clock.now]
        return due

    def answer(self, _command: Command, text: str, *, followed: bool) -> None:
        self.answers.append(text)


def traffic(
    release: str,
    *,
    begins: float,
    seconds: float,
    a_second: float,
    fails: Callable[[int], bool] = lambda _number: False,
    ms: float = 20.0,
) -> list[Answered]:
    """Evenly spread requests; `fails` says which."""
    return [
        Answered(release=release, began=begins + number / a_second, error=fails(number), ms=ms)
        for number in range(round(seconds * a_second))
    ]


def every(nth: int) -> Callable[[int], bool]:
    return lambda number: number % nth == nth - 1
