"""The command `change`, for the tasks `db.*`: status, plan, backfill, verify, contract, undo and control."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from .action_context import WAIT_SECONDS, ActionContext
from .alembic_environment import (
    MigrationError,
    database_url,
    reason,
    say,
)
from .changes.model import Refused
from .changes.operations import load
from .contracts import pending_contracts, upgrade_contracts
from .live.ddl import Blocked
from .live.gate import OVERRIDE, reasons
from .live.runner import Mismatches, Runner, only_one
from .live.session import CONNECTION_LOST, Session, state_of
from .live.state import State
from .status import plan_all, status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy.engine import URL

__all__ = ["ACTIONS", "change", "finish"]

_RECONNECTS = 5


def change(action: str, migrations: str, variable: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Run one action and return its answer, in which `error` is None or what the reader can fix.

    Raises MigrationError when the action can't start at all.
    """
    url = database_url(variable)
    if url is None:
        raise MigrationError("variable", f"the variable {variable} is not set, so there is no database")
    name = url.get_backend_name()
    if name not in {"postgresql", "sqlite"}:
        raise MigrationError(
            "database",
            f"declared changes work on PostgreSQL, and on SQLite as plain DDL; this is {name}: use Alembic's "
            "own operations",
        )
    load()
    context = ActionContext(url, migrations, options)
    if name == "sqlite":
        from .sqlite.actions import ACTIONS as SQLITE_ACTIONS

        return _guarded(lambda: SQLITE_ACTIONS[action](context), context)
    return _guarded(lambda: ACTIONS[action](context), context)


def _guarded(do: Callable[[], dict[str, Any]], context: ActionContext) -> dict[str, Any]:
    """Turn expected errors into part of the answer, and reconnect after a lost connection: all work is resumable."""
    tries = 0
    while True:
        try:
            return {"error": None, **do()}
        except (Refused, Blocked) as foreseen:
            return _foreseen(foreseen)
        except MigrationError as error:
            if error.kind != "database" or tries == 0 or tries >= _RECONNECTS:
                raise
            tries = _again(tries, str(error))
        except Exception as error:
            state, why = state_of(error), reason(error, context.url)
            if not state:
                raise
            if not state.startswith(CONNECTION_LOST):
                next_step = "fix that, and run it again: it resumes there"
                return {"error": {"kind": "database", "message": why, "next_step": next_step}}
            if tries >= _RECONNECTS:
                raise MigrationError("database", f"the connection was lost {tries} times: {why}") from error
            tries = _again(tries, why)


def _foreseen(error: Refused | Blocked) -> dict[str, Any]:
    if isinstance(error, Blocked):
        lines = list(error.lines)
        return {
            "error": {
                "kind": "blocked",
                "message": str(error),
                "next_step": "run it again: it resumes there",
                "lines": lines,
            }
        }
    if isinstance(error, Mismatches):
        return {
            "error": {"kind": "mismatches", "message": str(error), "next_step": error.next_step},
            "mismatches": error.rows,
        }
    return {"error": {"kind": "refused", "message": str(error), "next_step": error.next_step}}


def _again(tries: int, why: str) -> int:
    say(f"the connection was lost ({why}); trying again")
    time.sleep(0.5 * 2**tries)
    return tries + 1


# The actions ----------------------------------------------------------------------------------------------------------


def _backfill(context: ActionContext) -> dict[str, Any]:
    done: list[str] = []

    def fill(runner: Runner, key: str) -> None:
        if runner.known(key).phase in {"planned", "expanding"}:
            runner.expand(runner.known(key).change)
        before = runner.known(key)
        if before.phase in {"expanded", "filling"} or (
            before.phase == "filled" and before.times["verified_at"] is None
        ):
            runner.fill(key)
            done.append(key)
        elif before.phase == "reopening":
            runner.reopen(key)
            done.append(key)

    context.each(fill)
    return {"filled": done}


def fill_all(session: Session, runner: Runner, revisions: set[str]) -> list[str]:
    """Expand what was undone or interrupted, then fill the rows of every change; return the keys that were filled."""
    done: list[str] = []
    if not runner.state.exists:
        return done
    with only_one(session, WAIT_SECONDS, say):
        for item in runner.state.all():
            if item.revision and item.revision not in revisions:
                continue
            if item.phase in {"planned", "expanding", "undone"}:
                runner.expand(item.change, item.revision)
            if runner.known(item.key).phase in {"expanded", "filling", "filled"}:
                before = runner.known(item.key)
                if before.phase != "filled" or before.times["verified_at"] is None:
                    runner.fill(item.key)
                    done.append(item.key)
    return done


def finish(url: URL, migrations: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Do what a release needs after Alembic: record the facts, and fill all rows before the new version reads them."""
    load()
    context = ActionContext(url, migrations, options)
    if url.get_backend_name() == "sqlite":
        from .sqlite.actions import finish as finish_on_sqlite

        return _guarded(lambda: finish_on_sqlite(context), context)

    def go_on(session: Session) -> dict[str, Any]:
        runner, revisions = context.runner(session), context.revisions()
        filled = fill_all(session, runner, revisions) if options.get("fill", True) else []
        known = [
            item
            for item in runner.state.all()
            if item.phase != "undone" and (not item.revision or item.revision in revisions)
        ]
        if unfilled := [item.key for item in known if item.phase not in {"filled", "contracting", "contracted"}]:
            raise Refused(
                f"the rows of {', '.join(unfilled)} are not all there, and the new version reads them",
                "invoke db.backfill",
            )
        context.note_facts(session)
        return {"filled": filled, "changes": [item.key for item in known]}

    def do() -> dict[str, Any]:
        answer: dict[str, Any] = context.on_database(go_on)
        return answer

    return _guarded(do, context)


def _verify(context: ActionContext) -> dict[str, Any]:
    done: list[str] = []

    def verify(runner: Runner, key: str) -> None:
        if runner.known(key).phase == "filled":
            runner.verify(key)
            done.append(key)
        elif context.options.get("keys"):
            runner.verify(key)

    context.each(verify)
    return {"verified": done}


def _contract(context: ActionContext) -> dict[str, Any]:
    """Ask every gate first, so that no contract runs if a later one is refused."""
    override = str(context.options.get("override") or "")
    heads, keys = pending_contracts(context)

    def ask(session: Session) -> list[str]:
        context.note_facts(session)
        state = State(session)
        against = (
            []
            if override
            else [
                f"{key}: {why}"
                for key in keys
                if (known := state.get(key)) is not None and known.phase not in {"contracted", "contracting"}
                for why in reasons(session, state, known)
            ]
        )
        return against + [
            f"{key}: this database knows no such change: invoke db.expand"
            for key in keys
            if not state.exists or state.get(key) is None
        ]

    against = context.on_database(ask)
    if against:
        return {
            "contracted": [],
            "against": against,
            "error": {
                "kind": "refused",
                "message": "not contracted: " + against[0],
                "next_step": "wait for that, or give a reason: --override '…'",
                "lines": against,
            },
        }
    if not keys:
        return {"contracted": [], "against": []}
    if override:
        os.environ[OVERRIDE] = override
    return upgrade_contracts(context, heads, keys)


def _undo(context: ActionContext) -> dict[str, Any]:
    keys = context.options.get("keys")
    if not keys:
        raise Refused("say which change is to be undone", "invoke db.undo --change NAME; invoke db.status lists them")
    why, override = str(context.options.get("reason") or ""), str(context.options.get("override") or "")
    context.each(lambda runner, key: runner.undo(key, why, override))
    return {"undone": list(keys)}


def _control(context: ActionContext) -> dict[str, Any]:
    """Pause, resume or set the speed of a backfill. A running backfill reads these settings between batches."""
    wanted = {name: str(value) for name, value in context.options.get("settings", {}).items()}

    def set_them(session: Session) -> dict[str, Any]:
        state = State(session)
        state.prepare()
        for name, value in wanted.items():
            state.set(**{name: value})
        return state.settings()

    return {"settings": context.on_database(set_them)}


ACTIONS: dict[str, Callable[[ActionContext], dict[str, Any]]] = {
    "status": status,
    "plan": plan_all,
    "backfill": _backfill,
    "verify": _verify,
    "contract": _contract,
    "undo": _undo,
    "control": _control,
}
