"""The ledger that releases write. SQLite on one machine, PostgreSQL for a team; one contract suite for both."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from deploykit.model import DeploykitError

if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = [
    "ENDING",
    "RETIRE",
    "WARM",
    "BrokenChain",
    "ChainProblem",
    "Entry",
    "Held",
    "LockHeld",
    "Maintenance",
    "Request",
    "StaleToken",
    "Step",
    "StepState",
    "Timer",
]

WARM = "warm"
"""Kind of a timer: the instances of its payload are kept warm until it is due."""
RETIRE = "retire"
"""Kind of a timer: the instances of its payload could not be ended, and are to be."""
ENDING = frozenset({WARM, RETIRE})


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One link of the hash chain: something that was written, and when. `payload` is a JSON object.

    `sequence` starts at 1 and has no gaps; `previous` is the hash of the entry before, `""` for the first;
    `hash` is lower-case hexadecimal SHA-256 over the form that `deploykit.ledger.canonical` describes.
    """

    sequence: int
    at: float
    kind: str
    release: str
    payload: Mapping[str, Any]
    previous: str
    hash: str


class StepState(enum.Enum):
    """`INTENDED` without a result means: the action may have happened, wholly, in part or not at all."""

    INTENDED = "intended"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One journalled action of a release. `action` and `result` are JSON objects; times are UTC epoch seconds."""

    sequence: int
    release: str
    name: str
    action: Mapping[str, Any]
    state: StepState
    result: Mapping[str, Any]
    started_at: float
    finished_at: float | None


@dataclass(frozen=True, kw_only=True)
class Held:
    """The lock of an environment. `token` grows with every new holder (fencing); times are UTC epoch seconds."""

    owner: str
    reason: str
    token: int
    acquired_at: float
    heartbeat_at: float
    expires_at: float


class LockHeld(DeploykitError):
    """Somebody has the environment's lock. `holder` says who, since when, why, and until when unless prolonged.

    `known` is what else is known of the holder, a sentence.
    """

    def __init__(self, holder: Held, environment: str, known: str = "") -> None:
        self.holder = holder
        self.environment = environment
        self.known = known
        until = _clock(holder.expires_at)
        super().__init__(
            f"{environment} is locked by {holder.owner} since {_clock(holder.acquired_at)} ({holder.reason}), "
            f"until {until} unless its owner prolongs it.",
            details=(f"its owner was last heard of at {_clock(holder.heartbeat_at)}", *((known,) if known else ())),
            next_step=f"wait; or, when its owner is gone for good: invoke unlock --env {environment}",
        )

    def __reduce__(self) -> tuple[object, ...]:
        return (LockHeld, (self.holder, self.environment, self.known))


class StaleToken(DeploykitError):
    """The lock was taken by somebody else, broken or released since this token was handed out. Nothing was written."""


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True, kw_only=True)
class Timer:
    """Something due later: the kit's next command, or `invoke reap`, does it. `payload` is a JSON object."""

    id: int
    kind: str  # WARM, RETIRE, or "report": an event for the board
    release: str
    due_at: float
    payload: Mapping[str, Any]

    @property
    def instances(self) -> frozenset[str]:
        """The names in the payload of a timer that ends instances; others write ledgers, too, so what is none is left
        out.
        """
        named = self.payload.get("instances")
        return frozenset(name for name in named if isinstance(name, str)) if isinstance(named, list) else frozenset()


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asked of a release while it ran, and what came of it. `number` is the entry's sequence; `answer` is
    empty, and `answered_at` None, while there is none. `followed`: something came of it. Times are UTC epoch seconds.
    """

    number: int
    release: str
    name: str
    actor: str
    reason: str
    at: float
    answer: str
    answered_at: float | None
    followed: bool


@dataclass(frozen=True, kw_only=True)
class Maintenance:
    """Maintenance was switched on or off. `seconds`: for so long users saw the page; None where it began."""

    at: float
    actor: str
    enabled: bool
    seconds: float | None


class BrokenChain(DeploykitError):
    """New entries do not follow those that are known: they were not written by the kit."""


@dataclass(frozen=True, kw_only=True)
class ChainProblem:
    """One thing that does not add up. `sequence` is the entry's, 0 where it is not about one entry."""

    sequence: int
    message: str
