"""The board's tables. `migrations/` builds them; a test holds the two equal."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.types import BigInteger

__all__ = ["apps", "environments", "events", "metadata", "releases", "stages"]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts by itself only for a column of exactly INTEGER.
_Id = BigInteger().with_variant(Integer(), "sqlite")
_Time = DateTime(timezone=True)

apps = Table(
    "apps",
    metadata,
    Column("id", _Id, Identity(always=True), primary_key=True),
    Column("name", String(100), nullable=False),
    UniqueConstraint("name"),
    CheckConstraint("name <> ''", name="name_not_empty"),
)

environments = Table(
    "environments",
    metadata,
    Column("id", _Id, Identity(always=True), primary_key=True),
    Column("app_id", ForeignKey("apps.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(100), nullable=False),
    UniqueConstraint("app_id", "name"),  # its index also serves the foreign key
    CheckConstraint("name <> ''", name="name_not_empty"),
)

releases = Table(
    "releases",
    metadata,
    Column("id", _Id, Identity(always=True), primary_key=True),
    Column("environment_id", ForeignKey("environments.id", ondelete="CASCADE"), nullable=False),
    Column("source", String(200), nullable=False),  # which ledger counts these releases; two may both have an r1
    Column("release", String(100), nullable=False),
    Column("operation", String(20), nullable=False),
    Column("version", String(200), nullable=False),
    Column("digest", String(200), nullable=False),
    Column("commit", String(200), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("url", String(2000), nullable=False),
    Column("reason", Text, nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("started_at", _Time, nullable=False),
    Column("finished_at", _Time),
    Column("last_event_at", _Time, nullable=False),
    UniqueConstraint("environment_id", "source", "release"),
    CheckConstraint("outcome IN ('running', 'done', 'failed', 'rolled back', 'cancelled')", name="outcome_known"),
    CheckConstraint("operation IN ('release', 'rollback')", name="operation_known"),
    CheckConstraint("(outcome = 'running') = (finished_at IS NULL)", name="ended_when_not_running"),
    Index(None, "environment_id", "started_at"),
    Index("ix_releases_live", "environment_id", "outcome", "finished_at"),
    Index(None, "started_at"),
)

stages = Table(
    "stages",
    metadata,
    Column("release_id", ForeignKey("releases.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("name", String(100), nullable=False),
    Column("seconds", Float, nullable=False),
    Column("outcome", String(100), nullable=False),
    UniqueConstraint("release_id", "name"),
    CheckConstraint("seconds >= 0", name="seconds_not_negative"),
)

events = Table(
    "events",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("release_id", ForeignKey("releases.id", ondelete="CASCADE"), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("at", _Time, nullable=False),
    Column("received_at", _Time, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("content", Text, nullable=False),  # canonical JSON of the event, what the release is projected from
    CheckConstraint("kind IN ('started', 'stage', 'finished')", name="kind_known"),
    Index(None, "release_id", "at"),
)
