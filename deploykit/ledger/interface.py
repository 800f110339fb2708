"""The record that releases write. SQLite on one machine, PostgreSQL for a team; one contract suite for both."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from deploykit.model import DeploykitError, ReleaseOutcome, ReleaseRecord, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


__all__ = ["ChainProblem", "Entry", "Held", "Ledger", "LockHeld", "StaleToken", "Step", "StepState", "Timer"]


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
    """Somebody has the environment's lock. `holder` says who, since when, why, and until when unless prolonged."""

    def __init__(self, holder: Held, environment: str) -> None:
        self.holder = holder
        self.environment = environment
        until = _clock(holder.expires_at)
        super().__init__(
            f"{environment} is locked by {holder.owner} since {_clock(holder.acquired_at)} ({holder.reason}), "
            f"until {until} unless its owner prolongs it.",
            details=(f"its owner was last heard of at {_clock(holder.heartbeat_at)}",),
            next_step=f"wait; or, when its owner is gone for good: invoke unlock --env {environment}",
        )

    def __reduce__(self) -> tuple[object, ...]:
        return (LockHeld, (self.holder, self.environment))


class StaleToken(DeploykitError):
    """The lock was taken by somebody else, broken or released since this token was handed out. Nothing was written."""


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True, kw_only=True)
class Timer:
    """Something due later: the kit's next command, or `invoke reap`, does it. `payload` is a JSON object."""

    id: int
    kind: str  # "warm" (a version kept warm until due), "verify" …
    release: str
    due_at: float
    payload: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ChainProblem:
    """One thing that does not add up. `sequence` is the entry's, 0 where it is not about one entry."""

    sequence: int
    message: str


class Ledger(Protocol):
    """The record of one app in one environment. Every write but `result` is durable when the call returns.

    Every method raises DeploykitError when the store cannot be used (full, gone, busy for too long, damaged),
    and TypeError when a JSON object holds what JSON has no word for: a Secret above all.
    """

    def begin(  # noqa: PLR0913 (the fields of a release)
        self,
        *,
        version: str,
        digest: str,
        commit: str,
        tree: str,
        actor: str,
        kind: str,
        previous: str,
        token: int,
        release: str = "",
    ) -> ReleaseRecord:
        """A new release, outcome RUNNING. Ids are `r1`, `r2`, …, always one more than the highest there is.

        `release` is the id of one that was made before this record was, and is only now taken into it.
        Raises StaleToken when `token` is no longer the lock's, DeploykitError while another release is RUNNING:
        `finish` that one first; also when `release` is no such id, or is taken.
        """

    def amend(self, release: str, *, version: str = "", digest: str = "") -> ReleaseRecord:
        """Fill in what was not known at the beginning."""

    def finish(self, release: str, outcome: ReleaseOutcome, reason: str = "") -> ReleaseRecord:
        """RUNNING may become anything, DONE and FAILED may become ROLLED_BACK; the same outcome again changes nothing.

        Raises DeploykitError for every other change of mind.
        """

    def set_live(self, release: str) -> None:
        """From now on this release has the traffic."""

    def live(self) -> ReleaseRecord | None:
        """The release that `set_live` named last."""

    def release(self, release: str) -> ReleaseRecord | None: ...

    def releases(self, *, limit: int = 50) -> Sequence[ReleaseRecord]:
        """Newest first."""

    def unfinished(self) -> ReleaseRecord | None:
        """The release whose outcome is RUNNING, if any (there is at most one)."""

    def intend(self, release: str, name: str, action: Mapping[str, Any], *, token: int) -> int:
        """Commit the intent; returns the step's sequence. Raises StaleToken when `token` is no longer the lock's."""

    def result(self, sequence: int, state: StepState, result: Mapping[str, Any]) -> None:
        """How the step ended. Needs no token: what happened, happened. The same result again changes nothing.

        Committed when the call returns, and durable with the next write at the latest: a power cut in between leaves a
        step without a result, as a process that was killed before this call does.
        """

    def steps(self, release: str) -> Sequence[Step]:
        """In the order in which they were intended."""

    def add_evidence(self, verdict: Verdict) -> None: ...

    def evidence(self, gate: str, tree: str) -> Verdict | None:
        """The newest verdict of that gate on that very tree."""

    def add_timer(self, kind: str, release: str, due_at: float, payload: Mapping[str, Any]) -> Timer: ...

    def timers(self) -> Sequence[Timer]:
        """The earliest due first."""

    def remove_timer(self, timer: int) -> None:
        """It was done, or is no longer wanted. A timer that is gone already is no error."""

    def acquire(self, owner: str, reason: str, *, lease: float) -> Held:
        """Take the lock for `lease` seconds; `token` of the answer is greater than any handed out before.

        A lock whose lease ran out is taken over, which the record shows. Raises LockHeld when somebody has it,
        the same owner included: one owner may be two processes.
        """

    def holder(self) -> Held | None:
        """Who has the lock; None when nobody has, or when its lease ran out."""

    def heartbeat(self, owner: str, token: int, *, lease: float) -> None:
        """Prolong the lease to `lease` seconds from now. Raises StaleToken when the lock was lost."""

    def unlock(self, owner: str, token: int) -> None:
        """Give the lock back. Raises StaleToken when it was lost before."""

    def break_lock(self, by: str, reason: str) -> Held | None:
        """Take the lock away from whoever has it, on the record; None when there is none to take."""

    def head(self) -> str:
        """The hash of the newest entry of the chain, `""` when it is empty."""

    def entries(self, *, limit: int = 50) -> Sequence[Entry]:
        """The chain itself, newest first."""

    def check(self, anchors: Mapping[str, str] | Sequence[str] = ()) -> Sequence[ChainProblem]:
        """Walk the whole chain; empty when every hash holds, the tables agree with the entries, and every anchor is known.

        `anchors` are hashes kept outside of the ledger (`Labels.anchor` of what runs): only they can show that the
        newest entries were cut off, or all rewritten. A mapping names each: `{where it was seen: hash}`. An anchor that the
        chain itself took in with a release from before it (a step `adopt` with that `anchor`) is known by that.
        """

    def close(self) -> None: ...
