"""What people read of a judgement: short sentences, and the values of the live view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.release.reporting.live_view import Figures
from deploykit.rollout.judge import Decision

if TYPE_CHECKING:
    from deploykit.release.execution.observed import Observed
    from deploykit.rollout.judge import CanaryVerdict
    from deploykit.rollout.judge.state import Totals

__all__ = ["DECISIONS", "blame", "figures", "seen", "span"]

DECISIONS = {Decision.PROMOTE: "good", Decision.ABORT: "bad", Decision.UNDECIDED: "undecided"}


def span(seconds: float) -> str:
    """`45 s`, `10 min`."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def seen(totals: Totals) -> str:
    """Such as: 60 requests (50 probes), 1 failed, p95 12 ms."""
    probes = f" ({totals.probes:,} probes)" if totals.probes else ""
    p95 = totals.latencies.p95_ms
    text = f"{totals.requests:,} requests{probes}, {totals.errors:,} failed"
    return text if p95 is None else f"{text}, p95 {p95:.0f} ms"


def blame(verdict: CanaryVerdict, observed: Observed) -> list[str]:
    """Whether the version is to blame for its abort; the verdict's own sentence says where it is not."""
    if not verdict.blames_version:
        return []
    stable = observed.state.stable
    if stable.requests:
        return [f"the version is to blame: at the same time the stable version had {seen(stable)}"]
    return ["the version is to blame as far as can be known: no other version had requests to compare with"]


def figures(totals: Totals) -> Figures:
    """One version's in the live view."""
    latencies = totals.latencies
    return Figures(
        requests=totals.requests,
        errors=totals.errors,
        p50_ms=latencies.percentile_ms(0.5),
        p95_ms=latencies.percentile_ms(0.95),
        p99_ms=latencies.percentile_ms(0.99),
    )
