"""Latencies of any number of requests, in little room: counts of buckets that are 2 % wide."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Latencies"]

_WIDTH = math.log(1.02)
_SHORTEST_MS = 0.1


@dataclass(frozen=True, kw_only=True)
class Latencies:
    """How many requests fell into each bucket. Bucket b ends at 1.02 ** b milliseconds."""

    buckets: Mapping[int, int] = field(default_factory=dict)
    requests: int = 0

    def with_more(self, latencies_ms: Iterable[float]) -> Latencies:
        buckets, requests = dict(self.buckets), self.requests
        for ms in latencies_ms:
            bucket = math.ceil(math.log(max(ms, _SHORTEST_MS)) / _WIDTH)
            buckets[bucket] = buckets.get(bucket, 0) + 1
            requests += 1
        return Latencies(buckets=buckets, requests=requests)

    @property
    def p95_ms(self) -> float | None:
        """See `percentile_ms`."""
        return self.percentile_ms(0.95)

    def percentile_ms(self, share: float) -> float | None:
        """The nearest-rank percentile of a share above 0 and up to 1, rounded up to the end of its bucket. None without
        any request.

        Type 1 of Hyndman and Fan, "Sample Quantiles in Statistical Packages", The American Statistician 50 (1996).
        """
        # 0.07 * 100 is 7.000000000000001: a rounding error must not take the next rank.
        left = math.ceil(round(share * self.requests, 9))
        for bucket in sorted(self.buckets):
            left -= self.buckets[bucket]
            if left <= 0:
                return math.exp(bucket * _WIDTH)
        return None

    def as_json(self) -> dict[str, int]:
        return {str(bucket): count for bucket, count in sorted(self.buckets.items())}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Latencies:
        buckets = {int(bucket): count for bucket, count in data.items()}
        return cls(buckets=buckets, requests=sum(buckets.values()))
