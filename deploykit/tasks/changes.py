"""`invoke db.*`: declared changes of the schema, from their plan to the end of the old shape, or back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from deploykit.tasks.command import command, open_from_here, repository
from deploykit.tasks.output import AS_LOGGED, print_json, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from invoke.context import Context

__all__ = ["TASKS"]

_ENV = "the environment: local, staging, production …"
_JSON = "one JSON object on standard output; what people read goes to standard error"
_CHANGE = "only this change; may be given several times (default: all)"
_SQL = "print the SQL, and change nothing"


def _line_printer(*, json: bool) -> Callable[[str], None]:
    stream = sys.stderr if json else sys.stdout

    def tell(line: str) -> None:
        say(f"  {line}", stream=stream)

    return tell


def _say_sql(statements: Iterable[str]) -> None:
    for statement in statements:
        say(*statement.split("\n"), keep=AS_LOGGED)


def _act(
    action: str,
    env: str | None,
    options: Mapping[str, Any],
    *,
    json: bool,
    sources: bool = False,
    locked: bool = False,
) -> tuple[Mapping[str, Any], str]:
    """The answer, and the environment's name."""
    from deploykit.release.database.changes import change
    from deploykit.release.database.facts import change_options

    environment = open_from_here(env, sources=sources)
    merged = {
        **change_options(environment, **options.get("pace", {})),
        **{key: value for key, value in options.items() if key != "pace"},
    }
    return change(
        environment, action, merged, sources=sources, locked=locked, tell=_line_printer(json=json)
    ), environment.name


@command(help={"env": _ENV, "json": _JSON})
def status(_context: Context, env: str | None = None, json: bool = False) -> int | None:
    """How far each change is, and what keeps it from its contract."""
    from deploykit.tasks.change_lines import status_lines

    answer, name = _act("status", env, {}, json=json)
    if json:
        print_json(answer)
        return None
    for line in status_lines(answer, name):
        say(line)
    return None


@command(help={"env": _ENV, "change": _CHANGE, "sql": _SQL, "json": _JSON}, iterable=["change"])
def plan(
    _context: Context, env: str | None = None, change: list[str] | None = None, sql: bool = False, json: bool = False
) -> int | None:
    """What each change comes to on this database, statement by statement.

    With --sql the programs expand, fill and contract as SQL, for reading.
    """
    from deploykit.tasks.change_lines import plan_lines, plan_sql

    answer, name = _act("plan", env, {"keys": change or []}, json=json or sql, sources=True)
    if json:
        print_json(answer)
        return None
    if sql:
        _say_sql(plan_sql(answer))
    else:
        say(*plan_lines(answer, name))
    return None


@command(help={"env": _ENV, "sql": _SQL, "json": _JSON})
def expand(_context: Context, env: str | None = None, sql: bool = False, json: bool = False) -> int | None:
    """Apply what is pending, except contracts, and release nothing."""
    from deploykit.release.database.expand import expand_now
    from deploykit.tasks.change_lines import plan_sql

    if sql:
        answer, _ = _act("plan", env, {}, json=True, sources=True)
        _say_sql(plan_sql(answer, programs=("expand",)))
        return None
    environment = open_from_here(env, sources=True)
    done = expand_now(environment, _line_printer(json=json))
    if json:
        print_json(done)
        return None
    say(f"{done['note']}; next: invoke db.status --env {environment.name}")
    return None


@command(
    help={
        "env": _ENV,
        "change": _CHANGE,
        "speed": "the part of the time that it works, 0.01 to 1; from another terminal: of the one that runs",
        "batch": "seconds that a batch is to take",
        "workers": "how many connections fill at once",
        "pause": "let the one that runs wait, from another terminal",
        "resume": "let it go on",
        "sql": _SQL,
        "json": _JSON,
    },
    iterable=["change"],
)
def backfill(  # noqa: PLR0913, PLR0917 - flags
    _context: Context,
    env: str | None = None,
    change: list[str] | None = None,
    speed: float = 0.0,
    batch: float = 0.0,
    workers: int = 0,
    pause: bool = False,
    resume: bool = False,
    sql: bool = False,
    json: bool = False,
) -> int | None:
    """Fill the rows of what was expanded, then compare them.

    It can be ended at any moment, and typed again: it goes on where it was.
    """
    from deploykit.tasks.change_lines import plan_sql

    _check_pace(speed, batch, workers)
    if sql:
        answer, _ = _act("plan", env, {"keys": change or []}, json=True, sources=True)
        _say_sql(plan_sql(answer, programs=("fill",)))
        return None
    if pause or resume:
        wanted = {"backfill.paused": "yes" if pause else "no", **({"backfill.speed": str(speed)} if speed else {})}
        answer, name = _act("control", env, {"settings": wanted}, json=json)
        said = f"paused; go on by: invoke db.backfill --resume --env {name}" if pause else "it goes on"
    elif speed:
        _act("control", env, {"settings": {"backfill.speed": str(speed)}}, json=json)
        answer, name = _fill(env, change, speed, batch, workers, json=json)
        said = _filled(answer, name)
    else:
        answer, name = _fill(env, change, speed, batch, workers, json=json)
        said = _filled(answer, name)
    if json:
        print_json(answer)
    else:
        say(said)
    return None


def _check_pace(speed: float, batch: float, workers: int) -> None:
    """0 means the value of the settings."""
    from deploykit.model import UsageError

    wrong = [
        words
        for words, good in (
            (f"--speed is 0.01 to 1, not {speed:g}", speed == 0 or 0.01 <= speed <= 1),
            (f"--batch is more than 0 s, not {batch:g}", batch >= 0),
            (f"--workers is 1 or more, not {workers}", workers >= 0),
        )
        if not good
    ]
    if wrong:
        raise UsageError(wrong[0], next_step="invoke --help db.backfill")


def _fill(
    env: str | None, change: list[str] | None, speed: float, batch: float, workers: int, *, json: bool
) -> tuple[Mapping[str, Any], str]:
    pace = {"speed": float(speed), "batch": float(batch), "workers": int(workers)}
    return _act("backfill", env, {"keys": change or [], "pace": pace}, json=json)


def _filled(answer: Mapping[str, Any], name: str) -> str:
    done = answer["filled"]
    what = f"{', '.join(done)}: all rows are there and agree" if done else "there is nothing to fill"
    return f"{what}; next: invoke db.status --env {name}"


@command(help={"env": _ENV, "change": _CHANGE, "json": _JSON}, iterable=["change"])
def verify(
    _context: Context, env: str | None = None, change: list[str] | None = None, json: bool = False
) -> int | None:
    """Compare old and new shape row by row."""
    answer, name = _act("verify", env, {"keys": change or []}, json=json)
    if json:
        print_json(answer)
        return None
    done = answer["verified"]
    say(f"{', '.join(done)}: all rows agree" if done else f"there is nothing to compare; invoke db.status --env {name}")
    return None


@command(
    help={
        "env": _ENV,
        "override": "why it may be done although something is against it, for the ledger",
        "sql": _SQL,
        "json": _JSON,
    }
)
def contract(
    _context: Context, env: str | None = None, override: str = "", sql: bool = False, json: bool = False
) -> int | None:
    """End old shapes. Refused while anything may still need them."""
    from deploykit.release.database.changes import take_restore_point
    from deploykit.release.database.facts import facts
    from deploykit.tasks.change_lines import plan_sql

    if sql:
        answer, _ = _act("plan", env, {}, json=True, sources=True)
        _say_sql(plan_sql(answer, programs=("contract",)))
        return None
    environment = open_from_here(env, sources=True)
    known = {**facts(environment), "restore_point": take_restore_point(environment)}
    answer, name = _act("contract", env, {"override": override, "facts": known}, json=json, sources=True, locked=True)
    if json:
        print_json(answer)
        return None
    done = answer["contracted"]
    say(
        f"{', '.join(done)}: the old shape is gone"
        if done
        else f"there is nothing to contract; invoke db.status --env {name}"
    )
    return None


@command(
    help={
        "env": _ENV,
        "change": "which change; may be given several times",
        "reason": "why, for the ledger",
        "override": "why its new shape may go although a version that reads it runs",
        "json": _JSON,
    },
    iterable=["change"],
)
def undo(
    _context: Context,
    env: str | None = None,
    change: list[str] | None = None,
    reason: str = "",
    override: str = "",
    json: bool = False,
) -> int | None:
    """Take a change back, from any point; its new shape goes.

    After its contract the old shape is made again first, where that can be.
    """
    options = {"keys": change or [], "reason": reason, "override": override}
    answer, _ = _act("undo", env, options, json=json, locked=True)
    if json:
        print_json(answer)
        return None
    say(f"{', '.join(answer['undone'])}: undone; a release of a tree that declares it makes it again")
    return None


@command(
    help={
        "message": "what it is about",
        "autogenerate": "from what changed in the models",
        "contract": "the contract of what is declared and has none",
        "database": "URL of a PostgreSQL that may be overwritten (default: one from the wheel, for the moment)",
        "json": _JSON,
    }
)
def revision(
    _context: Context,
    message: str = "",
    autogenerate: bool = False,
    contract: bool = False,
    database: str = "",
    json: bool = False,
) -> int | None:
    """Write revisions: one that expands, one that contracts.

    For example: invoke db.revision -m "Prices are decimal" --autogenerate
    """
    from deploykit.model import UsageError
    from deploykit.release.database.revision import revise

    if not message.strip():
        raise UsageError("say what the revision is about", next_step='invoke db.revision -m "…"')
    if autogenerate and contract:
        raise UsageError(
            "from the models, or the contract of what is declared: one at a time",
            next_step='invoke db.revision -m "…" --autogenerate',
        )
    mode = "autogenerate" if autogenerate else "contract" if contract else "empty"
    answer = revise(repository(), message=message, mode=mode, database=database)
    if json:
        print_json(answer)
        return None
    for path in answer["written"]:
        say(f"wrote {path}")
    for note in answer["notes"]:
        say(f"  {note}")
    if answer["written"]:
        say("  next: read them, then: invoke db.lint")
    return None


TASKS = (revision, status, plan, expand, backfill, verify, contract, undo)
