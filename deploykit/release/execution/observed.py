"""What was seen of a version so far, and what the judge says of it: the answers of users and of probes, in slots."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

from deploykit.edge.interface import Mark
from deploykit.rollout.judge import CanaryVerdict, Limits, OpenSlots, Record, State, begin, fold, judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deploykit.release.version.spec import ThresholdSpec
    from deploykit.verify.probe import Probe

__all__ = ["Answer", "Answers", "Observed", "limits_of"]

_BEHIND_LEAST, _BEHIND_MOST, _BEHIND_P95S = 0.5, 2.0, 1.5
"""Slots are closed so many seconds behind, or so many times the p95 that is allowed: nearly all requests that began
before are answered by then, if the version is as quick as it has to be. Longer, and users meet a bad version longer.
"""


class Answer(Protocol):
    """What one user's request got, and from which release; "": none had it. `began` is seconds on the source's clock,
    `ms` how long it took.
    """

    @property
    def release(self) -> str: ...
    @property
    def began(self) -> float: ...
    @property
    def ms(self) -> float: ...
    @property
    def error(self) -> bool: ...
    @property
    def database_error(self) -> bool: ...


class Answers(Protocol):
    """A source of observations, such as the edge's log of requests."""

    def answers(self, since: Mark) -> tuple[Sequence[Answer], Mark]:
        """What users got since the mark, of all releases, and the mark to go on from: each answer comes once."""


@dataclass(kw_only=True)
class Observed:
    """Of one stage. `release` is the one that is judged; all others are the stable version.

    `fresh` counts the requests of users that were read after the first look of a stage that is not the first: those
    before it were answered while the stage was being prepared.
    """

    release: str
    mark: Mark
    state: State
    users: OpenSlots = field(default_factory=OpenSlots)
    probes: OpenSlots = field(default_factory=lambda: OpenSlots(probe=True))
    fresh: int = 0
    between: bool = False
    _ahead: float = -math.inf

    @classmethod
    def of_stage(cls, release: str, limits: Limits, since: Mark, before: Mapping[str, Any] | None = None) -> Self:
        """At a stage's beginning. `before`: what `for_next_stage` gave at the end of the stage before; requests since
        then count for this one. `since`: from where on they count where there was none.
        """
        if before is None:
            return cls(release=release, mark=since, state=begin(limits))
        state = State.from_json(before["state"])
        return cls(release=release, mark=Mark(before["mark"]), state=state, between=True)

    def for_next_stage(self) -> dict[str, Any]:
        """JSON, to go on from in the next stage."""
        return {"state": self.state.next_stage().as_json(), "mark": dict(self.mark.value)}

    def read(self, source: Answers, now: float, *, all_of_it: bool = False) -> None:
        """Take what was answered since the last time. `now`: seconds on any clock that only goes on.

        Slots are closed a little later than they are over, or at once with `all_of_it`. The source's clock may be that
        of another machine: the request that ended last says how much it is ahead of `now`.
        """
        answers, self.mark = source.answers(self.mark)
        self._ahead = max([self._ahead, *(answer.began + answer.ms / 1000 - now for answer in answers)])
        records = [
            Record(
                seconds=answer.began,
                candidate=answer.release == self.release,
                error=answer.error,
                ms=max(answer.ms, 0.0),
                database_error=answer.database_error,
            )
            for answer in answers
            if answer.release
        ]
        if not self.between:
            self.fresh += sum(record.candidate for record in records)
        self.between = False
        until = math.inf if all_of_it else now + self._ahead - self._behind
        self.users, slots = self.users.take(records, until=until)
        self.state = fold(self.state, slots)

    def add(self, probes: Sequence[Probe]) -> None:
        """Take probes; all that were sent within a slot have to come together."""
        records = [
            Record(seconds=probe.began, candidate=True, error=bool(probe.problem), ms=probe.ms) for probe in probes
        ]
        self.probes, slots = self.probes.take(records, until=math.inf)
        self.state = fold(self.state, slots)

    @property
    def _behind(self) -> float:
        return min(max(_BEHIND_P95S * self.state.limits.p95_ms / 1000, _BEHIND_LEAST), _BEHIND_MOST)

    @property
    def has_users(self) -> bool:
        """Whether users sent anything to the version, also what is in no closed slot yet."""
        return self.state.candidate.users > 0 or any(record.candidate for record in self.users.waiting)

    def verdict(self, *, baked: bool, unhealthy: str = "") -> CanaryVerdict:
        return judge(self.state, baked=baked, unhealthy=unhealthy)


def limits_of(thresholds: ThresholdSpec) -> Limits:
    """The judge's limits; what the settings do not name is as the deployment-strategy template has it."""
    return Limits(error_rate=thresholds.error_rate, p95_ms=thresholds.p95_ms, requests=thresholds.requests)
