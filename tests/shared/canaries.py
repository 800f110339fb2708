"""The traffic that the judge is tried on, and 10,000 canaries in seconds.

The model: requests come in bursts of 1, 2, 4 or 8, equally likely, and each burst is a slot. Each burst has a
probability of failure of its own, from a beta distribution whose mean is the version's true error rate, so that the
outcomes of two requests of one burst have the correlation `together`: 0, they are independent; 1, a burst fails as a
whole or not at all. A canary is 800 bursts, 3,000 requests in the mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING

from deploykit.rollout.judge.evidence import BETS, KEPT
from deploykit.rollout.judge.verdict import HARD_MOMENTS

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

SIZES = (1, 2, 4, 8)
BURSTS = 800


@cache
def failures(size: int, rate: float, together: float) -> tuple[float, ...]:
    """The probability of 0, 1, ... failures in a burst: the beta-binomial distribution."""
    if together == 1:
        return (1 - rate, *(0.0,) * (size - 1), rate)
    # Polya's urn: the next request fails with (rate + bad * w) / (1 + seen * w).
    weight = together / (1 - together)
    chances = [1.0]
    for seen in range(size):
        after = [0.0] * (seen + 2)
        for bad, chance in enumerate(chances):
            fails = (rate + bad * weight) / (1 + seen * weight)
            after[bad + 1] += chance * fails
            after[bad] += chance * (1 - fails)
        chances = after
    return tuple(chances)


def bursts(rng: random.Random, rate: float, together: float) -> Iterator[tuple[int, int]]:
    """Requests and errors of one burst after another, without end."""
    while True:
        size = rng.choice(SIZES)
        yield size, rng.choices(range(size + 1), failures(size, rate, together))[0]


@dataclass
class ManyCanaries:
    """Canaries that all have the same bursts, and failures of their own.

    Most bursts are free of errors. What those do to the evidence is the same for every canary, so it is summed up
    beforehand (`quiet`), and each canary only goes from one burst with errors to the next. That gives the very same
    e-values as `Evidence.observe` for each burst; a test compares them.
    """

    sizes: list[int]
    limit: float
    rate: float
    together: float
    requests: list[int] = field(init=False)
    """Requests before each burst."""
    quiet: list[list[float]] = field(init=False)
    """By bet: what all stakes before a burst would be worth there, if no error had come so far."""

    def __post_init__(self) -> None:
        self.requests = [0, *accumulate(self.sizes)]
        kept = [1.0, *(KEPT / math.sqrt(number) for number in range(1, len(self.sizes) + 1))]
        self.kept = kept
        self.quiet = []
        for risked, part in BETS:
            worth = [0.0]
            for index, size in enumerate(self.sizes):
                worth.append((worth[-1] + (kept[index] - kept[index + 1]) * part) * (1 - risked) ** size)
            self.quiet.append(worth)
        chances = {size: failures(size, self.rate, self.together) for size in SIZES}
        self.often = max(1 - chance[0] for chance in chances.values())
        self.has_errors = {size: (1 - chance[0]) / self.often for size, chance in chances.items()}
        self.errors = {size: list(accumulate(chance[1:])) for size, chance in chances.items()}

    def run(self, rng: random.Random, threshold: float) -> tuple[list[tuple[int, int]], float, bool]:
        """One canary: the bursts with errors up to an abort, the e-value after the last of them, whether it aborted."""
        money, done, errors, seen = [0.0] * len(BETS), 0, 0, []
        e = 1.0
        step = math.log(1 - self.often)
        at = -1
        while True:
            at += 1 + int(math.log(1 - rng.random()) / step)
            if at >= len(self.sizes):
                return seen, e, False
            size = self.sizes[at]
            if rng.random() >= self.has_errors[size]:
                continue
            bad = rng.choices(range(1, size + 1), cum_weights=self.errors[size])[0]
            quiet_requests = self.requests[at] - self.requests[done]
            share = bad / size / self.limit
            staked = self.kept[at] - self.kept[at + 1]
            for bet, (risked, part) in enumerate(BETS):
                passed = (1 - risked) ** quiet_requests
                worth = money[bet] * passed + self.quiet[bet][at] - self.quiet[bet][done] * passed
                safe = (1 - risked) ** size
                money[bet] = (worth + staked * part) * (safe + (1 - safe) * share)
            done = at + 1
            e = self.kept[done] + math.fsum(money)
            errors += bad
            seen.append((at, bad))
            # What is above the hard limit before 200 requests were seen may still be above it then.
            hard = errors > 0.05 * max(self.requests[done], 200) and len(seen) >= HARD_MOMENTS
            if e >= threshold or hard:
                return seen, e, True
