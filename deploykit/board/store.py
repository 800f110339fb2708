"""Writes events and reads what the board shows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, delete, func, insert, select, update

from deploykit.board import tables
from deploykit.board.events import Event, restore
from deploykit.board.projection import project

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy.engine import Connection, Engine, Row


__all__ = ["AppView", "EnvironmentView", "OtherContentError", "ReleaseView", "StageView", "Store"]


class OtherContentError(Exception):
    """An event of this id is already here and says something else."""


@dataclass(frozen=True, kw_only=True)
class StageView:
    name: str
    seconds: float
    outcome: str


@dataclass(frozen=True, kw_only=True)
class ReleaseView:
    """One release as it is shown.

    `last_event_at` tells a release that runs from one that nobody reports on any more.
    """

    app: str
    environment: str
    release: str
    source: str
    operation: str
    version: str
    digest: str
    commit: str
    actor: str
    url: str
    reason: str
    outcome: str
    started_at: datetime
    finished_at: datetime | None
    last_event_at: datetime
    stages: tuple[StageView, ...]

    def as_json(self) -> dict[str, Any]:
        times = {"started_at": self.started_at, "finished_at": self.finished_at, "last_event_at": self.last_event_at}
        return {**asdict(self), **{name: time and time.isoformat() for name, time in times.items()}}


@dataclass(frozen=True, kw_only=True)
class EnvironmentView:
    """`live` is the newest release that ended well: a failed one leaves the traffic where it was.

    `running` leaves out what a newer release of the same ledger has overtaken: a ledger runs one at a time, so the
    end of the older one was only never heard of.
    """

    name: str
    live: ReleaseView | None
    running: tuple[ReleaseView, ...]
    latest: ReleaseView | None


@dataclass(frozen=True, kw_only=True)
class AppView:
    name: str
    environments: tuple[EnvironmentView, ...]


class Store:
    """The board's queries. `now` gives UTC epoch seconds."""

    def __init__(self, engine: Engine, now: Callable[[], float]) -> None:
        self._engine = engine
        self._now = now

    def record(self, event: Event) -> bool:
        """Store an event; False when the very same one is already here. Raises OtherContentError.

        The release's row is locked first, so that events of one release are projected one after another.
        """
        with self._engine.begin() as connection:
            app = _find_or_add(connection, tables.apps, {"name": event.app})
            environment = _find_or_add(connection, tables.environments, {"app_id": app, "name": event.environment})
            key = {"environment_id": environment, "source": event.source, "release": event.release}
            at = _moment(event.at)
            first = {
                "operation": event.operation,
                "outcome": "running",
                "started_at": at,
                "last_event_at": at,
                **dict.fromkeys(("version", "digest", "commit", "actor", "url", "reason"), ""),
            }
            release = _find_or_add(connection, tables.releases, key, first)
            connection.execute(select(tables.releases.c.id).where(tables.releases.c.id == release).with_for_update())
            row = {
                "id": event.id,
                "release_id": release,
                "kind": event.kind,
                "at": at,
                "received_at": _moment(self._now()),
                "fingerprint": event.fingerprint(),
                "content": event.canonical(),
            }
            if not _add(connection, tables.events, row):
                known = select(tables.events.c.fingerprint).where(tables.events.c.id == event.id)
                if connection.execute(known).scalar_one() != row["fingerprint"]:
                    raise OtherContentError  # rolls back whatever this event had added
                return False
            _rewrite(connection, release)
        return True

    def apps(self, app: str = "") -> tuple[AppView, ...]:
        """All apps by name, or the one of that name, each with its environments by name."""
        live = _newest("live", tables.releases.c.finished_at, only_done=True)
        latest = _newest("latest", tables.releases.c.started_at)
        query = _releases().where(
            (tables.releases.c.outcome == "running")
            | tables.releases.c.id.in_(select(live.c.id).where(live.c.place == 1))
            | tables.releases.c.id.in_(select(latest.c.id).where(latest.c.place == 1))
        )
        pairs = (
            select(tables.apps.c.name, tables.environments.c.name)
            .join_from(tables.apps, tables.environments)
            .order_by(tables.apps.c.name, tables.environments.c.name)
        )
        if app:
            query, pairs = query.where(tables.apps.c.name == app), pairs.where(tables.apps.c.name == app)
        with self._engine.connect() as connection:
            names = [(name, environment) for name, environment in connection.execute(pairs)]
            releases = _views(connection, connection.execute(query).all())
        grouped: dict[str, list[EnvironmentView]] = {}
        for name, environment in names:
            own = [release for release in releases if (release.app, release.environment) == (name, environment)]
            grouped.setdefault(name, []).append(_environment(environment, own))
        return tuple(AppView(name=name, environments=tuple(rows)) for name, rows in grouped.items())

    def releases(self, *, app: str = "", environment: str = "", limit: int = 50) -> tuple[ReleaseView, ...]:
        """Newest first."""
        query = _releases().order_by(tables.releases.c.started_at.desc(), tables.releases.c.id.desc()).limit(limit)
        if app:
            query = query.where(tables.apps.c.name == app)
        if environment:
            query = query.where(tables.environments.c.name == environment)
        with self._engine.connect() as connection:
            return _views(connection, connection.execute(query).all())


def _environment(name: str, releases: Sequence[ReleaseView]) -> EnvironmentView:
    ended = sorted(
        (one for one in releases if one.outcome == "done"), key=lambda one: one.finished_at or one.started_at
    )
    begun = sorted(releases, key=lambda one: one.started_at)
    newest = {one.source: one for one in begun}
    return EnvironmentView(
        name=name,
        live=ended[-1] if ended else None,
        running=tuple(one for one in reversed(begun) if one.outcome == "running" and newest[one.source] is one),
        latest=begun[-1] if begun else None,
    )


def _newest(name: str, time: Any, *, only_done: bool = False) -> Any:
    """Releases numbered per environment, the newest 1."""
    c = tables.releases.c
    place = func.row_number().over(partition_by=c.environment_id, order_by=(time.desc(), c.id.desc()))
    query = select(c.id, place.label("place"))
    if only_done:
        query = query.where(c.outcome == "done")
    return query.subquery(name)


def _releases() -> Any:
    return select(
        tables.apps.c.name.label("app_name"), tables.environments.c.name.label("environment_name"), tables.releases
    ).select_from(tables.releases.join(tables.environments).join(tables.apps))


def _views(connection: Connection, rows: Sequence[Row[Any]]) -> tuple[ReleaseView, ...]:
    stages: dict[int, list[StageView]] = {}
    if rows:
        query = select(tables.stages).where(tables.stages.c.release_id.in_([row.id for row in rows]))
        for stage in connection.execute(query.order_by(tables.stages.c.release_id, tables.stages.c.position)):
            view = StageView(name=stage.name, seconds=stage.seconds, outcome=stage.outcome)
            stages.setdefault(stage.release_id, []).append(view)
    return tuple(_view(row._mapping, tuple(stages.get(row.id, ()))) for row in rows)  # noqa: SLF001 - SQLAlchemy's public name


def _view(row: Mapping[Any, Any], stages: tuple[StageView, ...]) -> ReleaseView:
    texts = ("release", "source", "operation", "version", "digest", "commit", "actor", "url", "reason", "outcome")
    return ReleaseView(
        app=row["app_name"],
        environment=row["environment_name"],
        **{name: row[name] for name in texts},
        started_at=_utc(row["started_at"]),
        finished_at=_utc(row["finished_at"]) if row["finished_at"] else None,
        last_event_at=_utc(row["last_event_at"]),
        stages=stages,
    )


def _rewrite(connection: Connection, release: int) -> None:
    """Rebuild the release's row and stages from all its events."""
    contents = connection.execute(select(tables.events.c.content).where(tables.events.c.release_id == release))
    seen = project([restore(content) for (content,) in contents])
    values = asdict(seen)
    stages = values.pop("stages")
    for name in ("started_at", "finished_at", "last_event_at"):
        values[name] = None if values[name] is None else _moment(values[name])
    connection.execute(update(tables.releases).where(tables.releases.c.id == release).values(**values))
    connection.execute(delete(tables.stages).where(tables.stages.c.release_id == release))
    if stages:
        rows = [{"release_id": release, "position": index, **stage} for index, stage in enumerate(stages)]
        connection.execute(insert(tables.stages), rows)


def _find_or_add(
    connection: Connection, table: Table, key: Mapping[str, Any], first: Mapping[str, Any] | None = None
) -> int:
    query = select(table.c.id).where(*(table.c[name] == value for name, value in key.items()))
    found = connection.execute(query).scalar_one_or_none()
    if found is None:
        _add(connection, table, {**key, **(first or {})})
        found = connection.execute(query).scalar_one()
    return int(found)


def _add(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert, or do nothing when the key is taken; waits for another transaction that inserts the same key."""
    statement: Any
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite  # PostgreSQL pays nothing for it

        statement = sqlite.insert(table)
    else:
        from sqlalchemy.dialects import postgresql

        statement = postgresql.insert(table)
    # What was inserted is asked for by RETURNING: drivers do not agree on a row count here.
    added = statement.values(**values).on_conflict_do_nothing().returning(table.c.id)
    return connection.execute(added).first() is not None


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _utc(moment: datetime) -> datetime:
    """SQLite gives naive times back; they were written in UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
