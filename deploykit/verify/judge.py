"""Thresholds against what was seen. Pure: no I/O, no clock.

No traffic is not evidence: too few requests are inconclusive. The exception are so many errors that no number of good
requests could make up for them.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Judgement", "JudgementOutcome", "Limits", "Sample", "judge", "percentile"]


class Limits(Protocol):
    """As the settings' `Thresholds` has them: a share, milliseconds, and how many requests are judged at least."""

    @property
    def error_rate(self) -> float: ...
    @property
    def p95_ms(self) -> float: ...
    @property
    def requests(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Requests of one kind. `source` is what they are called: "user requests", "probe requests".

    `causes` are a few of the errors, in words, where they are known.
    """

    source: str
    requests: int
    errors: int
    latencies_ms: Sequence[float]
    database_errors: int = 0
    causes: tuple[str, ...] = ()


class JudgementOutcome(enum.Enum):
    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """`reasons` say what was too much or too little; `figures` are JSON values; `causes` are a few errors in words."""

    outcome: JudgementOutcome
    reasons: tuple[str, ...]
    figures: Mapping[str, Any]
    causes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return self.outcome is JudgementOutcome.PASSED

    def as_json(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome.value,
            "reasons": list(self.reasons),
            "figures": dict(self.figures),
            "causes": list(self.causes),
        }

    def __str__(self) -> str:
        """One line: the outcome, what was looked at, and why."""
        looked = " + ".join(f"{number} {source}" for source, number in self.figures["sources"].items() if number)
        seen = f"{looked or 'no requests'}, {self.figures['errors']} errors"
        if self.figures["p95_ms"] is not None:
            seen += f", p95 {self.figures['p95_ms']:.0f} ms"
        return f"{self.outcome.value} ({seen})" + (f": {'; '.join(self.reasons)}" if self.reasons else "")


def percentile(values: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile: the smallest value that at least `share` of the values do not exceed.

    Type 1 of Hyndman and Fan, "Sample Quantiles in Statistical Packages", The American Statistician 50 (1996).
    It is always one of the values. None when there are none; raises ValueError when `share` is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"a share is above 0 and at most 1: {share}")
    if not values:
        return None
    # 0.07 * 100 is 7.000000000000001: a rounding error must not take the next rank.
    rank = math.ceil(round(share * len(values), 9))
    return sorted(values)[max(rank, 1) - 1]


def judge(samples: Sequence[Sample], limits: Limits) -> Judgement:
    """Judge all samples together. Errors fail at the limit and above (0 errors never), and so does p95;
    an error of the database always fails.
    """
    requests = sum(sample.requests for sample in samples)
    errors = sum(sample.errors for sample in samples)
    database_errors = sum(sample.database_errors for sample in samples)
    p95 = percentile([ms for sample in samples for ms in sample.latencies_ms], 0.95)
    enough = requests >= limits.requests
    reasons = []
    # With too few requests, as if all that are missing had been good.
    rate = errors / max(requests, limits.requests)
    if errors and rate >= limits.error_rate:
        reasons.append(
            f"{errors} of {requests} requests failed ({errors / requests:.2%}), the limit is {limits.error_rate:.2%}"
        )
    if database_errors:
        reasons.append(f"{database_errors} requests failed in the database")
    if enough and p95 is not None and p95 >= limits.p95_ms:
        reasons.append(f"p95 is {p95:.0f} ms, the limit is {limits.p95_ms:g} ms")
    outcome = JudgementOutcome.FAILED if reasons else JudgementOutcome.PASSED
    if not reasons and not enough:
        outcome = JudgementOutcome.INCONCLUSIVE
        reasons.append(f"only {requests} of at least {limits.requests} requests were seen")
    return Judgement(
        outcome=outcome,
        reasons=tuple(reasons),
        figures={
            "requests": requests,
            "errors": errors,
            "database_errors": database_errors,
            "error_rate": errors / requests if requests else None,
            "p95_ms": p95,
            "wanted_requests": limits.requests,
            "sources": {sample.source: sample.requests for sample in samples},
        },
        causes=tuple(cause for sample in samples for cause in sample.causes),
    )
