"""The words of a verdict: figures that a person reads without a table."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from deploykit.rollout.judge.limits import SLOW_SHARE, Criterion

if TYPE_CHECKING:
    from deploykit.rollout.judge.limits import Limits
    from deploykit.rollout.judge.tally import Counts

__all__ = ["about", "count", "details", "evidence", "percent", "rarity", "share"]

_MILLION = 1_000_000


def percent(value: float) -> str:
    """0.125 is "12.5 %", three digits at most."""
    return f"{value * 100:.3g} %"


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def share(bad: int, requests: int) -> str:
    """Such as: 6 of 48 requests (12.5 %)."""
    rate = f" ({percent(bad / requests)})" if bad else ""
    return f"{bad:,} of {count(requests, 'request')}{rate}"


def details(requests: int, probes: int, errors: int) -> str:
    """What there is to say of requests that were seen, such as: , 40 of them probes, 1 failed (0.8 %)."""
    text = f", {probes:,} of them probes" if probes else ""
    return text + f", {errors:,} failed" + (f" ({percent(errors / requests)})" if errors else "")


def about(number: int) -> str:
    """Rounded up to two digits: an estimate promises no more."""
    step = 10 ** max(len(str(number)) - 2, 0)
    return f"{math.ceil(number / step) * step:,}"


def rarity(e: float) -> str:
    """How rarely evidence like this comes from a version that is as good as allowed (Ville's inequality)."""
    if e >= _MILLION:
        return "fewer than 1 of a million versions at the limit ever look this bad"
    return f"at most 1 of {math.floor(e):,} versions at the limit ever looks this bad"


def evidence(
    criterion: Criterion, counts: Counts, limits: Limits, *, recent: bool, probes: int, slower_ms: float | None
) -> str:
    """The counts of a criterion beside what they are judged by. `recent`: they are only the last requests. `probes` of
    them were the kit's own, which is said where it is known of these requests.
    """
    last = "its last " if recent else ""
    rate = f" ({percent(counts.bad / counts.requests)})" if counts.bad else ""
    number = f"{counts.bad:,} of {last}{count(counts.requests, 'request')}"
    if criterion.of_errors:
        what = "failed"
    elif criterion is Criterion.SLOW:
        what = f"took longer than {limits.p95_ms:g} ms"
    else:
        what = f"took longer than {slower_ms:.0f} ms" if slower_ms is not None else "took too long"
    if criterion.relative:
        beside = share(counts.stable_bad, counts.stable_requests)
        return f"{number} {what}{rate}, and of the stable version's {beside}"
    allowed = limits.error_rate if criterion is Criterion.ERRORS else SLOW_SHARE
    own = f" ({probes:,} of these requests were probes)" if 0 < probes <= counts.requests and not recent else ""
    return f"{number} {what}{rate}, where at most {percent(allowed)} may{own}"
