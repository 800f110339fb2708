"""Facts that the kit knows and bare Alembic does not: which releases run, and the settings for a contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..changes.sql import literal
from .state import SCHEMA, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .session import Session

__all__ = ["record_facts", "releases"]


def record_facts(session: Session, facts: Mapping[str, Any], revisions: Iterable[str]) -> None:
    """Store in the application's database which releases run and what the settings want; every contract reads it there.

    - `facts` has app, environment, running, release, settings and restore_point. `running` has id and version of each
      release that runs or is kept warm. `release` is the one in progress, or None. `restore_point` has `at` and `what`
      of the newest, or None.
    - `revisions` are those of the version in progress, and so the changes that it knows. A release without an entry
      counts as one that knows none.
    """
    state = State(session)
    if not facts or not state.exists:
        return
    app, environment = literal(facts["app"]), literal(facts["environment"])
    running = list(facts.get("running", ()))
    own = facts.get("release")
    ids = ", ".join(literal(item["id"]) for item in [*running, *([own] if own else [])]) or "NULL"
    known = set(revisions)
    changes = [
        item.key for item in state.all() if item.phase != "undone" and (not item.revision or item.revision in known)
    ]
    with session.transaction():
        session.run(
            f"UPDATE {SCHEMA}.release SET running = FALSE, ended_at = now() WHERE app = {app} AND environment = "
            f"{environment} "
            f"AND running AND id NOT IN ({ids})"
        )
        for item in running:
            _note(session, app, environment, item, "", keep=True)
        if own:
            _note(session, app, environment, own, f",{','.join(changes)},", keep=False)
        for name, value in facts.get("settings", {}).items():
            session.run(
                f"INSERT INTO {SCHEMA}.setting VALUES ({literal(name)}, {literal(str(value))}) ON CONFLICT "
                "(name) DO UPDATE SET value = excluded.value"
            )
        if point := facts.get("restore_point"):
            session.run(f"INSERT INTO {SCHEMA}.restore_point VALUES ({literal(point['at'])}, {literal(point['what'])})")


def _note(session: Session, app: str, environment: str, item: Mapping[str, str], changes: str, *, keep: bool) -> None:
    values = f"{app}, {environment}, {literal(item['id'])}, {literal(item['version'])}, {literal(changes)}, TRUE"
    what = "running = TRUE, ended_at = NULL" + ("" if keep else ", changes = excluded.changes, seen_at = now()")
    session.run(
        f"INSERT INTO {SCHEMA}.release (app, environment, id, version, changes, running) VALUES ({values}) "
        f"ON CONFLICT (app, environment, id) DO UPDATE SET {what}"
    )


def releases(session: Session) -> list[dict[str, Any]]:
    rows = session.rows(
        f"SELECT app, environment, id, version, changes, running FROM {SCHEMA}.release ORDER BY seen_at"
    )
    return [
        {
            "app": row[0],
            "environment": row[1],
            "id": row[2],
            "version": row[3],
            "changes": [key for key in row[4].split(",") if key],
            "running": row[5],
        }
        for row in rows
    ]
