"""`[tool.deploykit.migrations]`: how migrations are judged, and how declared changes are carried out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from deploykit.settings.base_model import Duration, LongSeconds, Model, PositiveSeconds
from deploykit.settings.durations import IS_DURATION

__all__ = ["Backfill", "Contract", "MigrationAllow", "Migrations"]


class MigrationAllow(Model):
    """A rule of `invoke db.lint` that is acknowledged: why, and in which revision (empty: in all)."""

    rule: Annotated[str, Field(min_length=1)]
    reason: Annotated[str, Field(min_length=1, pattern=r"\S")]
    revision: str = ""


class Backfill(Model):
    """How hard `invoke db.backfill`, and a release, may push the database.

    Options of the command count before these.
    """

    when: Literal["release", "separately"] = "release"
    """`release`: a release fills the rows of its changes before its version starts; `separately`: it is refused until
    `invoke db.backfill` has."""
    batch: Annotated[float, Field(gt=0, le=10, json_schema_extra={IS_DURATION: True}), Duration] = 0.05
    """Seconds that a batch is to take: so long others wait behind a row."""
    speed: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The part of the time that it works; 0.25 rests three times as long as it works."""
    workers: Annotated[int, Field(ge=1, le=16)] = 1
    waiting: Annotated[int, Field(ge=0)] = 2
    """It waits while more statements than these wait for locks."""
    lag: PositiveSeconds = 10
    """It waits while a replica is further behind."""
    active: Annotated[int, Field(ge=0)] = 0
    """It waits while more sessions than these are working; 0: not asked."""
    query: str = ""
    """SQL of your own: a positive number, or true, means wait."""
    timeout: PositiveSeconds = 86_400


class Contract(Model):
    """What is wanted before an old shape is dropped."""

    soak: LongSeconds = 86_400
    """Seconds since all rows were there and the last release of the old shape ended."""
    restore_point: str = ""
    """A command that names the newest backup or snapshot: the last line it prints begins with its time (ISO 8601)."""
    restore_age: Annotated[LongSeconds, Field(gt=0)] = 86_400
    """The restore point may be so old."""
    restore_waived: str = ""
    """Why there is none; empty: one is wanted, except on the target `process`."""


class Migrations(Model):
    """How the migrations are judged, and how declared changes are carried out.

    Where they are is said under `database`.
    """

    backfill: Backfill = Backfill()
    contract: Contract = Contract()
    lock_timeout: Annotated[float, Field(gt=0, le=30, json_schema_extra={IS_DURATION: True}), Duration] = 0.4
    """Seconds that one try of a declared change waits for a lock, and so that others wait behind it."""
    lock_total: PositiveSeconds = 300
    """Seconds after which it gives up trying."""

    server_version: Annotated[int, Field(ge=9, le=99)] | Literal["ask"] | None = None
    """The oldest PostgreSQL they are applied to; `ask`: the database in `database.variable` is asked."""
    since: tuple[str, ...] = ()
    """Revisions that are applied everywhere: they and those before them are not judged."""
    allow: tuple[MigrationAllow, ...] = ()
    enable: tuple[str, ...] = ()
    """Rules that are only looked at when asked for."""
    metadata: Annotated[str, Field(pattern=r"^([A-Za-z_][\w.]*:[A-Za-z_][\w.]*)?$")] = ""
    """`module:attribute` of the application's tables, which the revisions must make; empty: not compared."""
    squawk: bool = False
    """Whether squawk is asked, too."""

    @field_validator("since", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value
