"""The state of a canary's judgement: a fold over slots, as a rollout is one over its journal.

`state.observe(slot)` is pure, and a state goes through JSON both ways: a killed release goes on where it was.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from deploykit.rollout.judge.latencies import Latencies
from deploykit.rollout.judge.limits import ALPHA_SHARES, Criterion, Limits
from deploykit.rollout.judge.tally import Counts, Tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from deploykit.rollout.judge.slots import Requests, Slot

__all__ = ["State", "Totals", "begin", "fold"]

LEAST_SLOWER_MS = 10.0
"""Less than this is not slower than the stable version: 3 ms are no harm where 1 ms was usual."""


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What one version answered in this stage. `moments` are slots: in how many something failed, or was slower than
    the stable version is. `probes` of the requests and `probe_errors` of the errors were the kit's
    own.
    """

    requests: int = 0
    probes: int = 0
    errors: int = 0
    probe_errors: int = 0
    error_moments: int = 0
    slower_moments: int = 0
    database_errors: int = 0
    latencies: Latencies = field(default_factory=Latencies)

    @property
    def users(self) -> int:
        """How many of the requests came from users."""
        return self.requests - self.probes

    @property
    def user_errors(self) -> int:
        return self.errors - self.probe_errors

    def with_more(self, seen: Requests, *, probe: bool, slower: int) -> Totals:
        return Totals(
            requests=self.requests + seen.requests,
            probes=self.probes + (seen.requests if probe else 0),
            errors=self.errors + seen.errors,
            probe_errors=self.probe_errors + (seen.errors if probe else 0),
            error_moments=self.error_moments + bool(seen.errors),
            slower_moments=self.slower_moments + bool(slower),
            database_errors=self.database_errors + seen.database_errors,
            latencies=self.latencies.with_more(seen.latencies_ms),
        )

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "latencies": self.latencies.as_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Totals:
        return cls(**{**data, "latencies": Latencies.from_json(data["latencies"])})


@dataclass(frozen=True, kw_only=True)
class State:
    """All that is known of a canary. `known_p95_ms` is the stable version's p95 as an earlier stage has it."""

    limits: Limits
    tallies: Mapping[Criterion, Tally]
    candidate: Totals = Totals()
    stable: Totals = Totals()
    known_p95_ms: float | None = None

    @property
    def stable_p95_ms(self) -> float | None:
        """The stable version's p95: of this stage where it has answered enough, else the one known before."""
        if self.stable.requests >= self.limits.hard_requests:
            return self.stable.latencies.p95_ms
        return self.known_p95_ms

    @property
    def slower_ms(self) -> float | None:
        """What takes longer than this is slower than the stable version is; None while nobody knows."""
        p95 = self.stable_p95_ms
        return None if p95 is None else max(self.limits.hard_p95_times * p95, p95 + LEAST_SLOWER_MS)

    def observe(self, slot: Slot) -> State:
        """The state after one more slot."""
        slower_ms, limits = self.slower_ms, self.limits
        tallies = dict(self.tallies)
        failed = _counts(slot, slot.candidate.errors, slot.stable.errors)
        slow = _counts(slot, _longer(slot.candidate, limits.p95_ms), _longer(slot.stable, limits.p95_ms))
        for criterion, counts in ((Criterion.ERRORS, failed), (Criterion.SLOW, slow)):
            tallies[criterion] = tallies[criterion].against_limit(counts, limits.allowed_share(criterion))
        slower = Counts()
        if slower_ms is not None:
            slower = _counts(slot, _longer(slot.candidate, slower_ms), _longer(slot.stable, slower_ms))
        if not slot.probe:
            for criterion, counts in ((Criterion.ERRORS_VS_STABLE, failed), (Criterion.SLOW_VS_STABLE, slower)):
                tallies[criterion] = tallies[criterion].against_stable(counts, limits.margin)
        return replace(
            self,
            tallies=tallies,
            candidate=self.candidate.with_more(slot.candidate, probe=slot.probe, slower=slower.bad),
            stable=self.stable.with_more(slot.stable, probe=False, slower=slower.stable_bad),
        )

    def next_stage(self) -> State:
        """The state at the beginning of the next stage: requests are counted from 0 again, and the evidence is kept.

        Alpha is the risk of the whole rollout for that reason, not of each stage.
        """
        return replace(
            self,
            tallies={criterion: tally.next_stage() for criterion, tally in self.tallies.items()},
            candidate=Totals(),
            stable=Totals(),
            known_p95_ms=self.stable_p95_ms,
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "limits": asdict(self.limits),
            "tallies": {criterion.value: tally.as_json() for criterion, tally in self.tallies.items()},
            "candidate": self.candidate.as_json(),
            "stable": self.stable.as_json(),
            "known_p95_ms": self.known_p95_ms,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> State:
        return cls(
            limits=Limits(**data["limits"]),
            tallies={Criterion(name): Tally.from_json(tally) for name, tally in data["tallies"].items()},
            candidate=Totals.from_json(data["candidate"]),
            stable=Totals.from_json(data["stable"]),
            known_p95_ms=data["known_p95_ms"],
        )


def begin(limits: Limits, *, stable_p95_ms: float | None = None) -> State:
    """The state of a canary that nobody has seen yet. `stable_p95_ms` where it is known from before the rollout.

    Raises ValueError when that is no length of time.
    """
    if stable_p95_ms is not None and not 0 <= stable_p95_ms < math.inf:
        raise ValueError("a p95 is a finite number of milliseconds, 0 or more")
    return State(
        limits=limits,
        tallies={criterion: Tally(threshold=1 / (limits.alpha * share)) for criterion, share in ALPHA_SHARES.items()},
        known_p95_ms=stable_p95_ms,
    )


def fold(state: State, slots: Iterable[Slot]) -> State:
    """The state that these slots lead to."""
    for slot in slots:
        state = state.observe(slot)
    return state


def _longer(seen: Requests, limit_ms: float) -> int:
    return sum(ms > limit_ms for ms in seen.latencies_ms)


def _counts(slot: Slot, bad: int, stable_bad: int) -> Counts:
    return Counts(
        requests=slot.candidate.requests,
        bad=bad,
        stable_requests=slot.stable.requests,
        stable_bad=stable_bad,
    )
