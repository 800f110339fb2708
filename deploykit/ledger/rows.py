"""Rows of the tables as the values of the interface."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from deploykit.ledger.interface import Entry, Held, Step, StepState, Timer
from deploykit.model import ReleaseOutcome, ReleaseRecord, RepositoryIdentity, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["entry", "held", "release", "repository", "step", "timer", "verdict"]


def release(row: Mapping[str, Any]) -> ReleaseRecord:
    fields: dict[str, Any] = {
        name: row[name]
        for name in ("id", "app", "environment", "version", "digest", "commit", "tree", "actor", "kind", "previous")
    }
    return ReleaseRecord(
        **fields,
        outcome=ReleaseOutcome(row["outcome"]),
        reason=row["reason"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )


def repository(row: Mapping[str, Any]) -> RepositoryIdentity:
    return RepositoryIdentity.from_json(json.loads(row["repository"]))


def step(row: Mapping[str, Any]) -> Step:
    return Step(
        sequence=row["sequence"],
        release=row["release"],
        name=row["name"],
        action=json.loads(row["action"]),
        state=StepState(row["state"]),
        result=json.loads(row["result"]),
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )


def verdict(row: Mapping[str, Any]) -> Verdict:
    return Verdict.from_json(json.loads(row["verdict"]))


def timer(row: Mapping[str, Any]) -> Timer:
    return Timer(
        id=row["sequence"],
        kind=row["kind"],
        release=row["release"],
        due_at=row["due_at"],
        payload=json.loads(row["payload"]),
    )


def held(row: Mapping[str, Any]) -> Held:
    return Held(
        owner=row["owner"],
        reason=row["reason"],
        token=row["token"],
        acquired_at=row["acquired_at"],
        heartbeat_at=row["heartbeat_at"],
        expires_at=row["expires_at"],
    )


def entry(row: Mapping[str, Any]) -> Entry:
    return Entry(
        sequence=row["sequence"],
        at=row["at"],
        kind=row["kind"],
        release=row["release"],
        payload=json.loads(row["payload"]),
        previous=row["previous"],
        hash=row["hash"],
    )
