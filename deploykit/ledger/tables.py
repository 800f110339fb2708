"""The tables, as SQLAlchemy Core sees them. `migrations/` creates them; a test holds the two equal.

`entries` is the record and only ever grows. `chains` knows where each chain ends. All others are projections: what the
entries add up to, kept so that a question takes one query. Every table carries the app and the environment, so that a
team's database holds many ledgers.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKeyConstraint, Index, Integer, MetaData, String, Table, Text

__all__ = ["CHAINS", "ENTRIES", "EVIDENCE", "LOCKS", "METADATA", "PROJECTIONS", "RELEASES", "STEPS", "TIMERS"]

METADATA = MetaData()


def _scope() -> tuple[Column[str], Column[str]]:
    return Column("app", String, primary_key=True), Column("environment", String, primary_key=True)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _time(name: str) -> Column[float]:
    return Column(name, Float(53), nullable=False)


def _sequence(name: str = "sequence", *, key: bool = True) -> Column[int]:
    return Column(name, Integer, primary_key=key, autoincrement=False, nullable=False)


ENTRIES = Table(
    "deploykit_entries",
    METADATA,
    *_scope(),
    _sequence(),
    _time("at"),
    _text("kind"),
    _text("release"),
    _text("payload"),
    _text("previous"),
    _text("hash"),
)

CHAINS = Table("deploykit_chains", METADATA, *_scope(), _sequence(key=False), _text("hash"))

RELEASES = Table(
    "deploykit_releases",
    METADATA,
    *_scope(),
    Column("id", String, primary_key=True),
    _sequence(key=False),
    _text("version"),
    _text("digest"),
    _text("commit"),
    _text("tree"),
    _text("actor"),
    _text("kind"),
    _text("previous"),
    _text("outcome"),
    _text("reason"),
    _time("started_at"),
    Column("finished_at", Float(53)),
    # The sequence of the entry by which it last got the traffic: the greatest one is live.
    Column("live_sequence", Integer),
    Index("deploykit_releases_order", "app", "environment", "sequence"),
)

STEPS = Table(
    "deploykit_steps",
    METADATA,
    *_scope(),
    _sequence(),
    Column("release", String, nullable=False),
    _text("name"),
    _text("action"),
    _text("state"),
    _text("result"),
    _time("started_at"),
    Column("finished_at", Float(53)),
    ForeignKeyConstraint(
        ["app", "environment", "release"],
        ["deploykit_releases.app", "deploykit_releases.environment", "deploykit_releases.id"],
        name="deploykit_steps_release",
    ),
    Index("deploykit_steps_order", "app", "environment", "release", "sequence"),
)

EVIDENCE = Table(
    "deploykit_evidence",
    METADATA,
    *_scope(),
    _sequence(),
    _text("gate"),
    _text("tree"),
    _text("verdict"),
    _time("at"),
    Index("deploykit_evidence_newest", "app", "environment", "tree", "gate", "sequence"),
)

TIMERS = Table(
    "deploykit_timers",
    METADATA,
    *_scope(),
    _sequence(),
    _text("kind"),
    _text("release"),
    _time("due_at"),
    _text("payload"),
)

LOCKS = Table(
    "deploykit_locks",
    METADATA,
    *_scope(),
    _text("owner"),
    _text("reason"),
    _sequence("token", key=False),
    _time("acquired_at"),
    # Heartbeats are no entries (there would be thousands); `seal` is a hash over what they change.
    _time("heartbeat_at"),
    _time("expires_at"),
    _text("seal"),
)

PROJECTIONS = (RELEASES, STEPS, EVIDENCE, TIMERS, LOCKS)
