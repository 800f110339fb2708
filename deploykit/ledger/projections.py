"""What each kind of entry does to the tables: pure, so that writing and checking can't differ.

| kind | payload |
|---|---|
| `release.begun` | version, digest, commit, tree, actor, kind, previous, token |
| `release.amended` | version and digest, those that changed |
| `release.finished` | outcome, reason |
| `release.live` | (empty) |
| `step.intended` | name, action, token |
| `step.result` | step (its sequence), state, result |
| `evidence.added` | verdict |
| `timer.added` | kind, due_at, payload |
| `timer.removed` | timer (its sequence) |
| `lock.taken` | owner, reason, lease, over (whose lease had run out, or null) |
| `lock.released` | owner, token |
| `lock.broken` | by, reason, owner, token |
| `repository.claimed` | repository (see `RepositoryIdentity`) |
| `rollout.asked` | name, actor, reason: what a person asks of a release that runs |
| `rollout.answered` | request (the sequence of `rollout.asked`), text, followed |
| `maintenance.set` | enabled, by, seconds (for so long users saw the page, or null) |
| `chain.restarted` | by, problems (what did not hold of the entries before) |

A step, an evidence, a timer and a fencing token are known by the sequence of the entry that made them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploykit.ledger.canonical import digest, dumps
from deploykit.ledger.interface import Entry, StepState
from deploykit.ledger.tables import EVIDENCE, LOCKS, PROJECTIONS, RELEASES, REPOSITORIES, STEPS, TIMERS, Table
from deploykit.model import ReleaseOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


__all__ = ["RESTARTED", "Change", "DeleteRow", "InsertRow", "UpdateRow", "derive", "seal"]


RESTARTED = "chain.restarted"
"""The kind of an entry that nothing before it counts for."""


@dataclass(frozen=True)
class InsertRow:
    """A new row."""

    table: Table
    key: Mapping[str, Any]
    values: Mapping[str, Any]


@dataclass(frozen=True)
class UpdateRow:
    """New values in an existing row."""

    table: Table
    key: Mapping[str, Any]
    values: Mapping[str, Any]


@dataclass(frozen=True)
class DeleteRow:
    """Deletes the row, if it exists; with an empty key all rows of the chain."""

    table: Table
    key: Mapping[str, Any]


Change = InsertRow | UpdateRow | DeleteRow


def derive(entry: Entry) -> Sequence[Change]:
    """What `entry` changes in the projections. Raises KeyError or ValueError on what this kit can't have written."""
    return _KINDS[entry.kind](entry)


def seal(token: int, heartbeat_at: float, expires_at: float) -> str:
    """A hash over the columns of the lock that no entry contains, so that an edit of them is detected, too."""
    return digest([token, float(heartbeat_at), float(expires_at)])


def _begun(entry: Entry) -> Sequence[Change]:
    payload = entry.payload
    known = {name: payload[name] for name in ("version", "digest", "commit", "tree", "actor", "kind", "previous")}
    rest = {
        "sequence": entry.sequence,
        "outcome": ReleaseOutcome.RUNNING.value,
        "reason": "",
        "started_at": entry.at,
        "finished_at": None,
        "live_sequence": None,
    }
    return (InsertRow(RELEASES, {"id": entry.release}, known | rest),)


def _amended(entry: Entry) -> Sequence[Change]:
    values = {name: entry.payload[name] for name in ("version", "digest") if name in entry.payload}
    return (UpdateRow(RELEASES, {"id": entry.release}, values),)


def _finished(entry: Entry) -> Sequence[Change]:
    outcome = ReleaseOutcome(entry.payload["outcome"])
    values = {"outcome": outcome.value, "reason": entry.payload["reason"], "finished_at": entry.at}
    return (UpdateRow(RELEASES, {"id": entry.release}, values),)


def _live(entry: Entry) -> Sequence[Change]:
    return (UpdateRow(RELEASES, {"id": entry.release}, {"live_sequence": entry.sequence}),)


def _intended(entry: Entry) -> Sequence[Change]:
    values = {
        "release": entry.release,
        "name": entry.payload["name"],
        "action": dumps(entry.payload["action"]),
        "state": StepState.INTENDED.value,
        "result": "{}",
        "started_at": entry.at,
        "finished_at": None,
    }
    return (InsertRow(STEPS, {"sequence": entry.sequence}, values),)


def _result(entry: Entry) -> Sequence[Change]:
    state = StepState(entry.payload["state"])
    values = {"state": state.value, "result": dumps(entry.payload["result"]), "finished_at": entry.at}
    return (UpdateRow(STEPS, {"sequence": entry.payload["step"]}, values),)


def _evidence(entry: Entry) -> Sequence[Change]:
    verdict = entry.payload["verdict"]
    values = {"gate": verdict["gate"], "tree": verdict["tree"], "verdict": dumps(verdict), "at": entry.at}
    return (InsertRow(EVIDENCE, {"sequence": entry.sequence}, values),)


def _timer_added(entry: Entry) -> Sequence[Change]:
    values = {
        "kind": entry.payload["kind"],
        "release": entry.release,
        "due_at": entry.payload["due_at"],
        "payload": dumps(entry.payload["payload"]),
    }
    return (InsertRow(TIMERS, {"sequence": entry.sequence}, values),)


def _timer_removed(entry: Entry) -> Sequence[Change]:
    return (DeleteRow(TIMERS, {"sequence": entry.payload["timer"]}),)


def _taken(entry: Entry) -> Sequence[Change]:
    expires_at = entry.at + entry.payload["lease"]
    values = {
        "owner": entry.payload["owner"],
        "reason": entry.payload["reason"],
        "token": entry.sequence,
        "acquired_at": entry.at,
        "heartbeat_at": entry.at,
        "expires_at": expires_at,
        "seal": seal(entry.sequence, entry.at, expires_at),
    }
    return (DeleteRow(LOCKS, {}), InsertRow(LOCKS, {}, values))


def _freed(_entry: Entry) -> Sequence[Change]:
    return (DeleteRow(LOCKS, {}),)


def _claimed(entry: Entry) -> Sequence[Change]:
    values = {"repository": dumps(entry.payload["repository"]), "at": entry.at}
    return (InsertRow(REPOSITORIES, {"sequence": entry.sequence}, values),)


def _kept_in_the_chain(_entry: Entry) -> Sequence[Change]:
    """They are few, and read from the entries themselves."""
    return ()


def _restarted(_entry: Entry) -> Sequence[Change]:
    # Steps refer to releases, so they go first.
    return tuple(DeleteRow(table, {}) for table in reversed(PROJECTIONS))


_KINDS: dict[str, Callable[[Entry], Sequence[Change]]] = {
    "release.begun": _begun,
    "release.amended": _amended,
    "release.finished": _finished,
    "release.live": _live,
    "step.intended": _intended,
    "step.result": _result,
    "evidence.added": _evidence,
    "timer.added": _timer_added,
    "timer.removed": _timer_removed,
    "lock.taken": _taken,
    "lock.released": _freed,
    "lock.broken": _freed,
    "repository.claimed": _claimed,
    "rollout.asked": _kept_in_the_chain,
    "rollout.answered": _kept_in_the_chain,
    "maintenance.set": _kept_in_the_chain,
    RESTARTED: _restarted,
}
