"""`changes`: what is declared and how far it is; backfill, verify, contract, undo; for the tasks `db.*`. One JSON object is the answer."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from .alembic_environment import (
    MigrationError,
    configuration,
    database_url,
    reason,
    say,
    version_table,
    with_connection,
)
from .changes.model import Refused
from .changes.operations import load
from .inspection import is_contract, load_scripts, pending_revisions, read_current
from .live.ddl import Blocked, Limits
from .live.facts import record_facts
from .live.gate import OVERRIDE, reasons
from .live.runner import Mismatches, Runner, only_one
from .live.session import CONNECTION_LOST, Session, state_of
from .live.state import State
from .live.throttle import Pace
from .status import plan_all, status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from alembic.script import ScriptDirectory
    from sqlalchemy.engine import URL, Connection


__all__ = [
    "ACTIONS",
    "Work",
    "change",
    "finish",
    "pending_contracts",
    "upgrade_contracts",
]

_RECONNECTS = 5
_WAIT = 60.0


def change(action: str, migrations: str, variable: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Do the action; `error` in the answer is None or what the reader can mend. Raises MigrationError for what can't be run at all."""
    url = database_url(variable)
    if url is None:
        raise MigrationError("variable", f"the variable {variable} is not set, so there is no database")
    name = url.get_backend_name()
    if name not in {"postgresql", "sqlite"}:
        raise MigrationError(
            "database",
            f"declared changes work on PostgreSQL, and on SQLite as plain DDL; this is {name}: use Alembic's own operations",
        )
    load()
    work = Work(url, migrations, options)
    if name == "sqlite":
        from .sqlite.actions import ACTIONS as PLAIN

        return _guarded(lambda: PLAIN[action](work), work)
    return _guarded(lambda: ACTIONS[action](work), work)


class Work:
    """The parts of an action: the database, the revisions, what was asked for."""

    def __init__(self, url: URL, migrations: str, options: Mapping[str, Any]) -> None:
        self.url, self.migrations, self.options = url, migrations, options
        self.script: ScriptDirectory = load_scripts(migrations)

    def each(self, do: Callable[[Runner, str], Any]) -> None:
        """Do it for each change that was named, else for every one that is there."""

        def work(session: Session) -> None:
            runner = self.runner(session)
            self.note_facts(session)
            with only_one(session, _WAIT, say):
                for key in self.options.get("keys") or [item.key for item in runner.state.all()]:
                    do(runner, key)

        self.on_database(work)

    def on_database(self, work: Callable[[Session], Any]) -> Any:
        """What `work` raises comes out as it was: `with_connection` takes all that a database says for a failed connection."""
        raised: list[Exception] = []

        def guarded(connection: Connection) -> Any:
            try:
                return work(_prepared(connection))
            except Exception as error:  # noqa: BLE001 - raised again below
                raised.append(error)
                return None

        answer = with_connection(self.url, guarded, autocommit=True)
        if raised:
            raise raised[0]
        return answer

    def runner(self, session: Session) -> Runner:
        wanted = {name: value for name, value in self.options.get("pace", {}).items() if value is not None}
        limits = {name: value for name, value in self.options.get("limits", {}).items() if value is not None}
        return Runner(session, say, Limits(**limits), Pace(**wanted), connect=self.connect)

    def connect(self) -> AbstractContextManager[Session]:
        from contextlib import contextmanager

        from sqlalchemy import create_engine, pool

        @contextmanager
        def opened() -> Iterator[Session]:
            engine = create_engine(self.url, poolclass=pool.NullPool, isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                yield _prepared(connection)

        return opened()

    def revisions(self) -> set[str]:
        return {revision.revision for revision in self.script.walk_revisions()}

    def note_facts(self, session: Session) -> None:
        record_facts(session, self.options.get("facts") or {}, self.revisions())


def _prepared(connection: Connection) -> Session:
    session = Session(connection)
    if connection.dialect.name == "postgresql":
        session.run("SET application_name = 'deploykit migrations'")
    return session


def _guarded(do: Callable[[], dict[str, Any]], work: Work) -> dict[str, Any]:
    """Errors that are foreseen become part of the answer; a lost connection is made anew, since all is taken up where it was."""
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
            state, why = state_of(error), reason(error, work.url)
            if not state:
                raise
            if not state.startswith(CONNECTION_LOST):
                next_step = "mend that, and type it again: it goes on where it was"
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
                "next_step": "type it again: it goes on where it was",
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


def _backfill(work: Work) -> dict[str, Any]:
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

    work.each(fill)
    return {"filled": done}


def fill_all(session: Session, runner: Runner, revisions: set[str]) -> list[str]:
    """After Alembic has expanded: what was undone or left half is expanded again, and every change's rows are filled."""
    done: list[str] = []
    if not runner.state.exists:
        return done
    with only_one(session, _WAIT, say):
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
    """What a release does after Alembic: note the facts, and have every change's rows there before the new version reads them."""
    load()
    work = Work(url, migrations, options)
    if url.get_backend_name() == "sqlite":
        from .sqlite.actions import finish as finish_plainly

        return _guarded(lambda: finish_plainly(work), work)

    def go_on(session: Session) -> dict[str, Any]:
        runner, revisions = work.runner(session), work.revisions()
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
        work.note_facts(session)
        return {"filled": filled, "changes": [item.key for item in known]}

    def do() -> dict[str, Any]:
        answer: dict[str, Any] = work.on_database(go_on)
        return answer

    return _guarded(do, work)


def _verify(work: Work) -> dict[str, Any]:
    done: list[str] = []

    def verify(runner: Runner, key: str) -> None:
        if runner.known(key).phase == "filled":
            runner.verify(key)
            done.append(key)
        elif work.options.get("keys"):
            runner.verify(key)

    work.each(verify)
    return {"verified": done}


def pending_contracts(work: Work) -> tuple[list[str], list[str]]:
    """Heads of the contract branch, and the changes that a way to them would contract. Raises Refused when others come before."""
    from .recording import record

    heads = [head for head in work.script.get_heads() if is_contract(work.script, head)]
    current = read_current(work.url, *version_table(configuration(work.migrations), work.script.dir))
    steps = [step for step in pending_revisions(work.script, current, heads) if heads]
    keys = [
        operation["key"]
        for step in steps
        for operation in record(step.module, work.url)["operations"]
        if operation["kind"] == "contract"
    ]
    others = [
        step.revision
        for step in steps
        if not any(item["kind"] == "contract" for item in record(step.module, work.url)["operations"])
        and not is_contract(work.script, step.revision)
    ]
    if others:
        raise Refused(
            f"before that, other revisions are pending: {', '.join(others)}", "invoke db.expand, or release them"
        )
    return heads, keys


def upgrade_contracts(work: Work, heads: list[str], keys: list[str]) -> dict[str, Any]:
    """Alembic's own upgrade of the contract branch."""
    from .upgrade import run_to

    answer = run_to(work.migrations, work.url, tuple(heads), wait=_WAIT)
    if answer["error"]:
        return {
            "contracted": [],
            "applied": answer["applied"],
            "error": {
                "kind": "failed",
                "next_step": "mend that, and type it again: it goes on where it was",
                **answer["error"],
            },
        }
    return {"contracted": keys, "applied": answer["applied"], "against": []}


def _contract(work: Work) -> dict[str, Any]:
    """Every gate is asked first: so that the first is not done if the second may not be."""
    override = str(work.options.get("override") or "")
    heads, keys = pending_contracts(work)

    def ask(session: Session) -> list[str]:
        work.note_facts(session)
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

    against = work.on_database(ask)
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
    return upgrade_contracts(work, heads, keys)


def _undo(work: Work) -> dict[str, Any]:
    keys = work.options.get("keys")
    if not keys:
        raise Refused("say which change is to be undone", "invoke db.undo --change NAME; invoke db.status lists them")
    why, override = str(work.options.get("reason") or ""), str(work.options.get("override") or "")
    work.each(lambda runner, key: runner.undo(key, why, override))
    return {"undone": list(keys)}


def _control(work: Work) -> dict[str, Any]:
    """Pause, go on, speed: read by a running backfill between its batches, in whatever process it is."""
    wanted = {name: str(value) for name, value in work.options.get("settings", {}).items()}

    def set_them(session: Session) -> dict[str, Any]:
        state = State(session)
        state.prepare()
        for name, value in wanted.items():
            state.set(**{name: value})
        return state.settings()

    return {"settings": work.on_database(set_them)}


ACTIONS: dict[str, Callable[[Work], dict[str, Any]]] = {
    "status": status,
    "plan": plan_all,
    "backfill": _backfill,
    "verify": _verify,
    "contract": _contract,
    "undo": _undo,
    "control": _control,
}
