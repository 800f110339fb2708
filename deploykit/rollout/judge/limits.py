"""What a canary is judged by: four criteria, their limits, and how the risk of a false abort is divided among them."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

__all__ = ["ALPHA_SHARES", "Criterion", "Limits"]

SLOW_SHARE = 0.05
"""p95 within a limit means: at most 5 % of the requests take longer."""
_LEAST_RATE = 1e-6
"""A limit of 0 is judged as one in a million: the first error speaks loudly enough, and nothing is divided by 0."""


class Criterion(enum.Enum):
    ERRORS = "errors"
    ERRORS_VS_STABLE = "errors-vs-stable"
    SLOW = "slow"
    SLOW_VS_STABLE = "slow-vs-stable"

    @property
    def relative(self) -> bool:
        """Judged against the stable version; the others against a limit."""
        return self in {Criterion.ERRORS_VS_STABLE, Criterion.SLOW_VS_STABLE}

    @property
    def of_errors(self) -> bool:
        """It counts failed requests; the others count slow ones."""
        return self in {Criterion.ERRORS, Criterion.ERRORS_VS_STABLE}


ALPHA_SHARES = {
    Criterion.ERRORS: 0.5,
    Criterion.ERRORS_VS_STABLE: 0.2,
    Criterion.SLOW: 0.2,
    Criterion.SLOW_VS_STABLE: 0.1,
}
"""How `Limits.alpha` is divided. Errors of the version itself are to be noticed first, so they have half of it."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is allowed. The defaults are those of the deployment-strategy template where it names one.

    `alpha` is the risk of aborting a version that is as good as allowed, over the whole rollout. `requests` are wanted
    in each stage before it is promoted. `margin`: failing up to so many times as often as the stable version is not
    held against a version; exactly, it is a ratio of odds. The three `hard` ones hold from `hard_requests` on.

    Raises ValueError for what can't be a limit.
    """

    error_rate: float = 0.01
    p95_ms: float = 500.0
    requests: int = 50
    alpha: float = 0.01
    margin: float = 1.5
    hard_error_rate: float = 0.05
    hard_p95_times: float = 2.0
    hard_requests: int = 200

    def __post_init__(self) -> None:
        if not 0 <= self.error_rate <= 1 or not 0 < self.hard_error_rate <= 1:
            raise ValueError("an error rate is 0 to 1")
        if not 0 < self.p95_ms < math.inf:
            raise ValueError("a limit of the p95 is a number of milliseconds above 0")
        if self.requests < 1 or self.hard_requests < 1:
            raise ValueError("at least one request has to be judged")
        if not 1e-6 <= self.alpha <= 0.5:
            raise ValueError("the risk of a false abort is 0.000001 to 0.5")
        if not 1 <= self.margin <= 100 or not 1 <= self.hard_p95_times <= 100:
            raise ValueError("so many times the stable version's are 1 to 100 times")

    def allowed_share(self, criterion: Criterion) -> float:
        """The share of bad requests that a limit allows."""
        return max(self.error_rate, _LEAST_RATE) if criterion.of_errors else SLOW_SHARE
