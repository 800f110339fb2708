"""What the settings say of rollouts: which strategy, and what it needs to know. Values only; JSON both ways."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEFAULT_STEPS", "CanaryStep", "Strategy", "StrategyName", "Undecided"]

StrategyName = Literal["blue-green", "rolling", "canary", "recreate"]
Undecided = Literal["wait", "ask", "abort"]


@dataclass(frozen=True, kw_only=True)
class CanaryStep:
    """One step of a canary: `share` percent of the traffic for at least `bake` seconds. `confirm`: then a person has to
    say that it goes on.
    """

    share: float
    bake: float = 0.0
    confirm: bool = False


DEFAULT_STEPS = (
    CanaryStep(share=5, bake=600),
    CanaryStep(share=25, bake=600),
    CanaryStep(share=50, bake=600),
    CanaryStep(share=100),
)
"""The deployment-strategy template's canary."""


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """How a version takes over from the one before. The settings' checks have seen to it that it makes sense.

    `steps` are a canary's; the last one has 100 %. `max_surge` and `max_unavailable` are a rolling release's, as
    Kubernetes defines them: so many instances more than wanted, and fewer; "25%" of the wanted ones, rounded up and
    down. `sticky`: a user stays on one version. `tester_header` and `tester_cookie` are names, empty for none: a
    request that has one of them goes to the canary. `lease`: after so many seconds without its release a canary gives
    the traffic back. `undecided`: what is done when the judge has seen too little to decide: "wait" for more, for
    `patience` seconds, and abort then; "ask" a person, for as long; or "abort" at once.
    """

    name: StrategyName = "blue-green"
    steps: tuple[CanaryStep, ...] = ()
    max_surge: int | str = "25%"
    max_unavailable: int | str = "25%"
    sticky: bool = False
    tester_header: str = ""
    tester_cookie: str = ""
    lease: float = 60.0
    undecided: Undecided = "wait"
    patience: float = 3_600.0

    @property
    def has_routes(self) -> bool:
        """Some requests are sent by who sends them, and not by the weights alone."""
        return self.sticky or bool(self.tester_header or self.tester_cookie)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Strategy:
        return cls(**{**data, "steps": tuple(CanaryStep(**step) for step in data["steps"])})
