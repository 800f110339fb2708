"""The plan of a rollout: who takes over from whom, in which stages. A strategy is a list of stages; values only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from deploykit.rollout.shares import FULL_WEIGHT

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Plan", "Stage"]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One part of a rollout, in the order of its fields.

    `closed`: users get the maintenance page until the traffic is shared as the stage wants it. `stop`: old instances
    that are drained and stopped. `start`: new instances that are started, and tried. `weights`: what each instance gets
    then, at most `share` percent for the new version; `routes`: the instance that a tester, or a user's number, is sent
    to. Then the version is judged for `bake` seconds, or less after `enough` requests of users (0: no less). `confirm`:
    after that a person has to say that it goes on.
    """

    share: float
    start: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    weights: Mapping[str, int] = field(default_factory=dict)
    routes: Mapping[str, str] = field(default_factory=dict)
    bake: float = 0.0
    enough: int = 0
    confirm: bool = False
    closed: bool = False

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Stage:
        return cls(**{**data, "start": tuple(data["start"]), "stop": tuple(data["stop"])})


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Who takes over from whom. Instances are named; the names are all that a rollout needs to know of them.

    `candidate` gets the traffic, `stable` has it now (empty at a first release), `older` is what may be retired once
    the candidate is live. `kept` of the candidate ran before (a rollback to a warm version): an abort leaves them
    running. `judged` False leaves out smoke checks and judgement: a version that was judged when it was released gets
    the traffic at once. `warm`: the old version runs on for a while afterwards, to go back to. `lease`: seconds after
    which the old version gets the traffic back from a release that does not answer any more; 0: it does not.
    """

    candidate: tuple[str, ...]
    stages: tuple[Stage, ...]
    stable: tuple[str, ...] = ()
    older: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    judged: bool = True
    warm: bool = True
    lease: float = 0.0

    def __post_init__(self) -> None:
        if not self.candidate or not self.stages:
            raise ValueError("a rollout needs at least one instance of the new version, and a stage")
        old = set(self.stable) | set(self.older)
        if set(self.candidate) & old:
            raise ValueError("an instance can't be both new and old")
        for stage in self.stages:
            if not set(stage.start) <= set(self.candidate) or not set(stage.stop) <= set(self.stable):
                raise ValueError("a stage starts new instances and stops old ones")
            if not any(stage.weights.values()) or not all(0 <= each <= 256 for each in stage.weights.values()):
                raise ValueError("weights are 0 to 256, and somebody has one")

    @property
    def before(self) -> dict[str, int]:
        """The weights before the rollout, and again after it was undone."""
        return dict.fromkeys(self.stable, FULL_WEIGHT)

    @property
    def has_routes(self) -> bool:
        return any(stage.routes for stage in self.stages)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        names = {name: tuple(data[name]) for name in ("candidate", "stable", "older", "kept")}
        return cls(**{**data, **names, "stages": tuple(Stage.from_json(stage) for stage in data["stages"])})
