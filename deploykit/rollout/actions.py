"""The vocabulary of a rollout: what can be done, and what came of it. Values only; JSON both ways for the journal."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Action", "Kind", "Observation", "Result"]


class Kind(enum.Enum):
    """What an action does. Each is idempotent: whoever performs it looks first and then converges."""

    START = "start"  # start the named instances beside the old ones
    HEALTH = "health"  # wait until each of them is healthy at its own address
    SMOKE = "smoke"  # try it at its own address, before any user sees it
    TRUST = "trust"  # from now on the target starts it again when it ends by itself
    EDGE = "edge"  # the proxy runs
    ATTACH = "attach"  # known to the proxy, at weight 0
    RAISE = "raise"  # give each the weight in `weights`; nothing is lowered
    LOWER = "lower"  # the same, where it is less; refused unless others carry the traffic
    VERIFY = "verify"  # judge what users (or probes) get from it
    LIVE = "live"  # record that it has the traffic
    DRAIN = "drain"  # wait until nothing is in flight on it, or the limit passed
    WARM = "warm"  # keep it running for its window, to go back to at once
    RETIRE = "retire"  # end what is older than what could be gone back to
    CLOSE = "close"  # stop the proxy: there is no version left that could answer
    DETACH = "detach"  # the proxy forgets it
    STOP = "stop"  # end it
    ROUTES = "routes"  # which instance testers get, and users who are kept on one version
    MAINTENANCE = "maintenance"  # users get a page that says so, or the app again
    LEASE = "lease"  # from now on the old version gets the traffic back unless this release renews the lease
    UNLEASE = "unlease"  # the lease is not needed any more; it fails where it has ended


@dataclass(frozen=True, kw_only=True)
class Action:
    """One step. `instances` are what it is about; `name` is unique within a rollout's journal."""

    kind: Kind
    name: str
    instances: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind.value,
            "name": self.name,
            "instances": list(self.instances),
            "parameters": dict(self.parameters),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Action:
        return cls(
            kind=Kind(data["kind"]),
            name=data["name"],
            instances=tuple(data["instances"]),
            parameters=data["parameters"],
        )


class Result(enum.Enum):
    """What came of an action. `CANCELLED` is a person's Ctrl-C, a SIGTERM, or a recovery that decided to undo.
    `UNDECIDED`: too little was seen to judge by, so it is asked for again.
    """

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNDECIDED = "undecided"


@dataclass(frozen=True, kw_only=True)
class Observation:
    """An action's result. `reason` is one sentence; `data` is what the performer wants on the record (JSON types)."""

    action: str
    result: Result
    reason: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
