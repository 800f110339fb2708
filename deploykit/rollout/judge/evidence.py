"""Evidence that may be looked at after every request: betting against "it is no worse than allowed".

Somebody who doubts the version bets on every share of bad requests. The odds are such that nobody can be expected to
win while the share is at most what is allowed: each bet's money is multiplied by 1 - f + f * x / at_most, and the mean
of that is at most 1. By Ville's inequality the money exceeds 1 / alpha at any time with a probability of at most
alpha, however often it is looked at. docs/judge.md explains it with an example.

Sources: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", Journal of the Royal
Statistical Society B 86 (2024); Ville, "Étude critique de la notion de collectif" (1939).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BETS", "Evidence"]

BETS = ((0.01, 0.1), (0.03, 0.2), (0.1, 0.4), (0.3, 0.2), (0.8, 0.1))
"""Each bet: the part of its money that it risks on one request, and its share of what is staked.

Nobody knows beforehand how bad a version is. A small bet wins most against one that is a little worse than allowed,
a large one where nearly everything fails. For single requests, a bet of f is the likelihood ratio of a true share of
at_most + f * (1 - at_most).
"""

KEPT = 0.2
"""What is not staked at the first observation. After n observations KEPT / sqrt(n) is left, and the difference is
staked afresh. So a version that turns bad after hours is noticed, although the first bets lost nearly all their money
while it was good.
"""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The money of all bets, of 1 in the beginning. Immutable: `observe` returns what comes next."""

    bets: tuple[float, ...] = (0.0,) * len(BETS)
    kept: float = 1.0
    observations: int = 0

    @property
    def e(self) -> float:
        """The e-value: 1 says nothing; of 100 versions that are as good as allowed, at most 1 ever reaches 100."""
        return self.kept + math.fsum(self.bets)

    def observe(self, share: float, *, at_most: float, requests: int) -> Evidence:
        """Bet on one observation: the share of bad ones among `requests` that came together.

        `at_most` is what the mean of that share may be, given everything before. What comes together may fail together:
        it is one observation, however many requests it has. More requests only allow a larger bet: as much as the same
        bet would lose on so many good requests one by one. No request at all changes nothing but the stakes.

        Raises ValueError when `share` is not in [0, 1] or `at_most` not in (0, 1].
        """
        if not 0 <= share <= 1 or not 0 < at_most <= 1:
            raise ValueError(f"a share of {share} where at most {at_most} is allowed can't be judged")
        kept = KEPT / math.sqrt(self.observations + 1)
        staked = self.kept - kept
        bets = []
        for money, (risked, part) in zip(self.bets, BETS, strict=True):
            safe = (1 - risked) ** requests
            bets.append((money + staked * part) * (safe + (1 - safe) * share / at_most))
        return Evidence(bets=tuple(bets), kept=kept, observations=self.observations + 1)

    def as_json(self) -> dict[str, Any]:
        return {"bets": list(self.bets), "kept": self.kept, "observations": self.observations}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Evidence:
        return cls(bets=tuple(data["bets"]), kept=data["kept"], observations=data["observations"])
