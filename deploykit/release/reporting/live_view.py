"""What a rollout does at this moment, as values and as lines. How they are redrawn is up to `deploykit.tasks`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Figures", "LiveView"]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one version answered in this stage; percentiles in milliseconds, None without any request."""

    requests: int = 0
    errors: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class LiveView:
    """`share` percent of the traffic go to the version that is judged. `words` are the judge's, `probes` of the
    version's requests are the kit's own. `left`: seconds until something is decided without more evidence. `waits_for`
    says in a few words for whom the stage waits, empty where for evidence only.
    """

    stage: int
    stages: int
    share: float
    candidate: Figures
    stable: Figures
    decision: str
    words: str
    left: float
    probes: int = 0
    waits_for: str = ""

    @property
    def title(self) -> str:
        place = f"stage {self.stage} of {self.stages}, " if self.stages > 1 else ""
        return f"{place}{self.share:.3g} % of the traffic"

    @property
    def phase(self) -> tuple[Any, ...]:
        """Where this differs, something else is going on; the figures apart."""
        return self.stage, self.share, self.decision, self.waits_for

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def line(self) -> str:
        """All of it on one line, for a log."""
        parts = [self._seen(), f"{self.decision}: {self.words}", self.waits_for, f"{_span(self.left)} left"]
        return f"{self.title}: {'; '.join(part for part in parts if part)}"

    def _seen(self) -> str:
        new, stable = self.candidate, self.stable
        if not new.requests and not stable.requests:
            return ""
        text = f"{_count(new.requests)}, {new.errors:,} failed, p95 {_ms(new.p95_ms)}"
        if stable.requests:
            text += f" (stable version: {stable.requests:,}, {stable.errors:,} failed, p95 {_ms(stable.p95_ms)})"
        return text

    def lines(self, width: int) -> list[str]:
        """A few lines of at most `width` columns, to be redrawn in place."""
        rows = [("new", self.candidate)]
        if self.stable.requests:
            rows.append(("stable", self.stable))
        table = [f"{'':<8}{'requests':>10}{'failed':>17}{'p50':>10}{'p95':>10}{'p99':>10}"]
        for name, seen in rows:
            cells = f"{_ms(seen.p50_ms):>10}{_ms(seen.p95_ms):>10}{_ms(seen.p99_ms):>10}"
            table.append(f"{name:<8}{seen.requests:>10,}{_failed(seen):>17}{cells}")
        words = [f"{self.decision}: {self.words}", self.waits_for]
        lines = [f"{self.title}, {_span(self.left)} left", *table, *(word for word in words if word)]
        return [_cut(f"  {line}", width) for line in lines]


def _cut(line: str, width: int) -> str:
    """One line on the screen: a longer one would wrap, and be drawn over in the wrong place."""
    line = " ".join(line.splitlines())
    return line if len(line) <= width else f"{line[: max(width - 1, 0)]}…"


def _count(requests: int) -> str:
    return f"{requests:,} request" + ("" if requests == 1 else "s")


def _failed(seen: Figures) -> str:
    return f"{seen.errors:,} ({100 * seen.errors / seen.requests:.2f} %)" if seen.errors else "0"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} ms"


def _span(seconds: float) -> str:
    minutes, rest = divmod(max(round(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
