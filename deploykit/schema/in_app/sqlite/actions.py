"""The actions of `db.*` on SQLite, with the same answers as on PostgreSQL."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..alembic_environment import say
from ..changes.model import Change, Refused
from ..contracts import pending_contracts, upgrade_contracts
from ..status import declared, pending_changes, planned
from .runner import SqliteRunner, described

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..action_context import ActionContext
    from ..live.session import Session
    from .plan import Action, Plan

__all__ = ["ACTIONS", "finish"]

_NOTE = "SQLite: plain DDL, rows copied at once; one version runs at a time"


def _status(context: ActionContext) -> dict[str, Any]:
    def read(session: Session) -> dict[str, Any]:
        known = SqliteRunner(session, say).all()
        changes = [
            {
                "key": item.change.key,
                "kind": item.change.kind,
                "table": item.change.table,
                "phase": item.phase,
                "revision": item.revision,
                "times": item.times,
                "against": [],
                "lost": item.plan.lost,
                "steps": [],
            }
            for item in known
        ]
        here = {item.change.key for item in known if item.phase != "undone"}
        return {"changes": changes, "releases": [], "settings": {}, "declared": declared(context, here)}

    answer: dict[str, Any] = context.on_database(read)
    return answer


def _plan(context: ActionContext) -> dict[str, Any]:
    asked = set(context.options.get("keys") or ())
    pending = pending_changes(context)

    def read(session: Session) -> dict[str, Any]:
        runner = SqliteRunner(session, say)
        plans = [
            _as_plan(item.change, item.plan, item.phase, item.revision)
            for item in runner.all()
            if (item.change.key in asked if asked else item.phase == "filled")
        ]
        return {"plans": [*plans, *planned(pending, plans, asked, partial(_declared_plan, runner))]}

    answer: dict[str, Any] = context.on_database(read)
    return answer


def _declared_plan(runner: SqliteRunner, change: Change, revision: str) -> dict[str, Any]:
    return _as_plan(change, runner.plan(change), "declared", revision)


def _as_plan(change: Change, plan: Plan, phase: str, revision: str) -> dict[str, Any]:
    def program(title: str, actions: list[Action]) -> list[dict[str, Any]]:
        lines = described(actions)
        return [{"kind": "block", "title": title, "alone": False, "sql": lines}] if lines else []

    return {
        "key": change.key,
        "kind": change.kind,
        "table": change.table,
        "phase": phase,
        "revision": revision,
        "programs": {
            "expand": program("the new shape, with its rows", plan.expand),
            "fill": [],
            "contract": program("the old shape goes", plan.contract),
            "undo": program("the old shape's rows, then back to it", [["fill", sql] for sql in plan.undo]),
            "reopen": program("the old shape again, then its rows", [["fill", sql] for sql in plan.reopen]),
        },
        "lost": plan.lost,
        "notes": [_NOTE, *plan.notes],
    }


def _each(context: ActionContext, do: Callable[[SqliteRunner, str], None]) -> list[str]:
    def on(session: Session) -> list[str]:
        runner = SqliteRunner(session, say)
        keys = list(context.options.get("keys") or [])
        for key in keys:
            do(runner, key)
        return keys

    keys: list[str] = context.on_database(on)
    return keys


def _nothing(name: str) -> Callable[[ActionContext], dict[str, Any]]:
    def act(context: ActionContext) -> dict[str, Any]:
        """Do nothing, since expand has filled the rows. Raises Refused for an unknown name."""

        def known(runner: SqliteRunner, key: str) -> None:
            runner.known(key)

        _each(context, known)
        return {name: []}

    return act


def finish(context: ActionContext) -> dict[str, Any]:
    """Run after Alembic: expand changes again that were undone by hand, since the new version reads them."""

    def again(session: Session) -> list[str]:
        runner, revisions = SqliteRunner(session, say), context.revisions()
        mine = [item for item in runner.all() if not item.revision or item.revision in revisions]
        for item in mine:
            if item.phase == "undone":
                runner.begin(item.change, item.revision)
        return [item.change.key for item in mine]

    return {"filled": [], "changes": context.on_database(again)}


def _contract(context: ActionContext) -> dict[str, Any]:
    heads, keys = pending_contracts(context)

    def unknown(session: Session) -> list[str]:
        known = {item.change.key for item in SqliteRunner(session, say).all()}
        return [f"{key}: this database knows no such change: invoke db.expand" for key in keys if key not in known]

    if against := context.on_database(unknown):
        raise Refused("not contracted: " + "; ".join(against), "invoke db.expand")
    return upgrade_contracts(context, heads, keys) if keys else {"contracted": [], "against": []}


def _undo(context: ActionContext) -> dict[str, Any]:
    if not context.options.get("keys"):
        raise Refused("say which change is to be undone", "invoke db.undo --change NAME; invoke db.status lists them")
    return {"undone": _each(context, lambda runner, key: runner.undo(key))}


def _control(_: ActionContext) -> dict[str, Any]:
    raise Refused(
        "there is no backfill to control on SQLite: rows are copied at once by the expand", "invoke db.expand"
    )


ACTIONS: dict[str, Callable[[ActionContext], dict[str, Any]]] = {
    "status": _status,
    "plan": _plan,
    "backfill": _nothing("filled"),
    "verify": _nothing("verified"),
    "contract": _contract,
    "undo": _undo,
    "control": _control,
}
