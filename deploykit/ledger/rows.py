"""Rows of the tables as the values of the interface. A row that something else has changed is refused in a sentence."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from deploykit.ledger.interface import Entry, Held, Step, StepState, Timer
from deploykit.model import DeploykitError, ReleaseOutcome, ReleaseRecord, RepositoryIdentity, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from enum import Enum

__all__ = ["RELEASE_ID", "chain_end", "entry", "held", "release", "repository", "step", "timer", "verdict"]

RELEASE_ID = re.compile(r"r[1-9][0-9]{0,8}")
_RELEASE = ("id", "app", "environment", "version", "digest", "commit", "tree", "actor", "kind", "previous", "reason")


def release(row: Mapping[str, Any]) -> ReleaseRecord:
    if not RELEASE_ID.fullmatch(_of_type(row, "id", str)):  # files are named by it
        raise _damaged(row, "id")
    return ReleaseRecord(
        **_texts(row, *_RELEASE),
        outcome=_one_of(row, "outcome", ReleaseOutcome),
        **_numbers(row, "started_at", "finished_at", or_none={"finished_at"}),
    )


def repository(row: Mapping[str, Any]) -> RepositoryIdentity:
    content = _object(row, "repository")
    try:
        return RepositoryIdentity.from_json(content)
    except (KeyError, ValueError, TypeError):
        raise _damaged(row, "repository") from None


def step(row: Mapping[str, Any]) -> Step:
    return Step(
        **_texts(row, "release", "name"),
        action=_object(row, "action"),
        state=_one_of(row, "state", StepState),
        result=_object(row, "result"),
        **_numbers(row, "sequence", "started_at", "finished_at", or_none={"finished_at"}),
    )


def verdict(row: Mapping[str, Any]) -> Mapping[str, Any]:
    content: Mapping[str, Any] = _object(row, "verdict")
    try:
        Verdict.from_json(content)
    except (KeyError, ValueError, TypeError, AttributeError):
        raise _damaged(row, "verdict") from None
    return content


def timer(row: Mapping[str, Any]) -> Timer:
    found = _numbers(row, "sequence", "due_at")
    return Timer(
        id=found["sequence"],
        **_texts(row, "kind", "release"),
        due_at=found["due_at"],
        payload=_object(row, "payload"),
    )


def held(row: Mapping[str, Any]) -> Held:
    return Held(**_texts(row, "owner", "reason"), **_numbers(row, "token", "acquired_at", "heartbeat_at", "expires_at"))


def entry(row: Mapping[str, Any]) -> Entry:
    return Entry(
        **_texts(row, "kind", "release", "previous", "hash"),
        payload=_object(row, "payload"),
        **_numbers(row, "sequence", "at"),
    )


def chain_end(row: Mapping[str, Any]) -> tuple[int, str]:
    """The sequence and the hash of the newest entry."""
    return _of_type(row, "sequence", int), _of_type(row, "hash", str)


def _texts(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: _of_type(row, name, str) for name in names}


def _numbers(row: Mapping[str, Any], *names: str, or_none: Collection[str] = ()) -> dict[str, Any]:
    return {name: None if row[name] is None and name in or_none else _of_type(row, name, int, float) for name in names}


def _of_type(row: Mapping[str, Any], name: str, *types: type) -> Any:
    if not isinstance(row[name], types):
        raise _damaged(row, name)
    return row[name]


def _one_of(row: Mapping[str, Any], name: str, kind: type[Enum]) -> Any:
    try:
        return kind(row[name])
    except ValueError:
        raise _damaged(row, name) from None


def _object(row: Mapping[str, Any], name: str) -> Any:
    try:
        found = json.loads(row[name])
    except (ValueError, TypeError):
        raise _damaged(row, name) from None
    if not isinstance(found, dict):
        raise _damaged(row, name)
    return found


def _damaged(row: Mapping[str, Any], name: str) -> DeploykitError:
    which = row.get("id") or row.get("sequence") or ""
    return DeploykitError(
        f"the ledger can't be read: {name} is not as it was written, in row {which}",
        next_step="see what else disagrees: `invoke history --check` with the same --env; then restore a backup of it",
    )
