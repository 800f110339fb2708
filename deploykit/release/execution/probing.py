"""Probes in place of users who are missing, and no more of them than a decision needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from deploykit.rollout.judge import Decision
from deploykit.rollout.judge.slots import SLOT_SECONDS
from deploykit.verify.probe import ProbePath, probe, probe_paths

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deploykit.process.cancellation import Cancellation
    from deploykit.release.execution.observed import Observed
    from deploykit.release.version.spec import ReleaseSpec
    from deploykit.rollout.judge import CanaryVerdict

__all__ = ["Probing", "Reached"]

_MOST_TIMES = 10
"""At most so many times the wanted requests are sent in one round."""
_SECONDS = 30.0
"""No new probe is sent after so long."""
_AT_A_TIME = 10
_SLOTS = 40
"""So many slots at least are made of a round's probes: those of one slot are one observation."""
_ALWAYS = 3
"""A path of which all probes failed, at so many moments, is broken, and not just unlucky."""
_CAUSES = 5


class Reached(Protocol):
    """Where probes are sent to."""

    def url(self) -> str: ...

    def probe_headers(self, release: str) -> Mapping[str, str]: ...


@dataclass(kw_only=True)
class Probing:
    """Probes of one version through the edge. `causes` are a few of what failed, in words."""

    edge: Reached
    spec: ReleaseSpec
    redact: Callable[[str], str]
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    cancellation: Cancellation
    meanwhile: Callable[[], None] = lambda: None
    """Called about each second."""
    causes: list[str] = field(default_factory=list)
    sent: int = 0
    _good: set[str] = field(default_factory=set)
    _failed: dict[str, int] = field(default_factory=dict)

    def decide(
        self, observed: Observed, verdict: Callable[[], CanaryVerdict], *, stop: Callable[[], bool] = lambda: False
    ) -> CanaryVerdict:
        """Send what is missing of the wanted requests at once, and where some of those failed, more one after the
        other until that decides, the bound is reached, or `stop` says so.
        """
        wanted = observed.state.limits.requests
        bound = _MOST_TIMES * wanted
        until, left = self.clock() + _SECONDS, bound
        said = verdict()
        while said.decision is Decision.UNDECIDED and left > 0 and (seconds := until - self.clock()) > 0:
            count = min(said.missing or max(min(bound // _SLOTS, _AT_A_TIME), 1), left)
            self._send(observed, count, seconds)
            left -= count
            said = verdict()
            if said.decision is Decision.UNDECIDED:
                # The next ones are to be a slot of their own.
                self.sleep(SLOT_SECONDS)
                self.meanwhile()
                if stop():
                    break
        return said

    def broken(self) -> str:
        """A sentence on a path that never gave what is wanted of it, else empty."""
        for path, moments in self._failed.items():
            if moments >= _ALWAYS and path not in self._good:
                return f"GET {path} failed each time that it was probed"
        return ""

    def _send(self, observed: Observed, count: int, seconds: float) -> None:
        paths: tuple[ProbePath, ...] = probe_paths(self.spec.health, self.spec.smoke)
        first = self.sent % len(paths)
        answers = probe(
            self.edge.url(),
            paths[first:] + paths[:first],
            count,
            headers=lambda: {**self.spec.headers, **self.edge.probe_headers(observed.release)},
            timeout=seconds,
            meanwhile=self.meanwhile,
            redact=self.redact,
            clock=self.clock,
            cancellation=self.cancellation,
        )
        observed.add(answers)
        self.sent += len(answers)
        self._good |= {answer.path for answer in answers if not answer.problem}
        for path in {answer.path for answer in answers if answer.problem}:
            self._failed[path] = self._failed.get(path, 0) + 1
        problems = dict.fromkeys([*self.causes, *(answer.problem for answer in answers if answer.problem)])
        self.causes[:] = list(problems)[:_CAUSES]
