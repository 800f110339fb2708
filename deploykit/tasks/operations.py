"""Looking at what runs, and looking after it: status, history, verify, logs, exec, reap, down, lock, unlock, build."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from deploykit.tasks.command import command, open_from_here, repository
from deploykit.tasks.execute import execute
from deploykit.tasks.output import AS_LOGGED, print_json, say

if TYPE_CHECKING:
    from invoke.context import Context

__all__ = ["TASKS"]

_ENV = "the environment: local, staging, production …"
_APP = "the app, where this folder is no repository"
_JSON = "one JSON object on standard output"


@command(help={"env": _ENV, "app": _APP, "json": _JSON})
def status(_context: Context, env: str | None = None, app: str = "", json: bool = False) -> int | None:
    """What is live, what runs, who holds the lock.

    Ends with 1 when something of what is live does not run, was started again,
    or is not what the ledger names, and when the ledger does not hold.
    """
    from deploykit.release.queries.status import read_status
    from deploykit.release.queries.status_lines import status_lines

    found = read_status(open_from_here(env, app))
    if json:
        print_json(found.as_json())
    else:
        for line in status_lines(found, sys.stdout):
            say(line)
    return found.exit_code


@command(
    help={
        "env": _ENV,
        "app": _APP,
        "check": "check the hash chain, and compare the ledger with what runs",
        "limit": "how many releases",
        "json": _JSON,
    }
)
def history(
    _context: Context, env: str | None = None, app: str = "", check: bool = False, limit: int = 20, json: bool = False
) -> int | None:
    """The releases of an environment; --check proves that the ledger is intact."""
    from deploykit.release.queries.history import check_history, history_lines, read_history

    environment = open_from_here(env, app)
    if check:
        checked = check_history(environment)
        if json:
            print_json(checked.as_json())
        else:
            for line in checked.lines(sys.stdout):
                say(line)
        return checked.exit_code
    records = read_history(environment, limit)
    if json:
        print_json(records)
        return None
    maintenance = environment.ledger.maintenance()
    for line in history_lines(records, environment.name, sys.stdout, maintenance):
        say(line)
    return None


@command(help={"env": _ENV, "app": _APP, "json": _JSON})
def verify(_context: Context, env: str | None = None, app: str = "", json: bool = False) -> int | None:
    """Judge what is live now, and change nothing.

    By health, smoke checks, what users got in the last minute, and probes.
    """
    from deploykit.release.queries.verify import verify_live

    verified = verify_live(open_from_here(env, app))
    if json:
        print_json(verified.as_json())
    else:
        for line in verified.lines(sys.stdout):
            say(line)
    return verified.exit_code


@command(help={"env": "the environment whose lock and settings count", "json": _JSON})
def build(_context: Context, env: str = "local", json: bool = False) -> int | None:
    """Build the artefact of the present tree, and release nothing."""
    from deploykit.release.environment.versions import present_sources

    environment = open_from_here(env, sources=True)
    sources = present_sources(environment)
    built = environment.hosting.build(sources, [])
    if json:
        print_json({"version": sources.version, "tree": sources.tree.tree, **built})
    else:
        say(f"{sources.version} is built: {built['digest']} ({built['note']})")
        say(f"  next: invoke release --env {environment.name}")
    return None


@command(
    help={
        "env": _ENV,
        "app": _APP,
        "follow": "go on as lines come, until Ctrl-C",
        "lines": "how many old lines",
        "process": "only this one: web, or the name of another process",
    }
)
def logs(
    _context: Context,
    env: str | None = None,
    app: str = "",
    follow: bool = False,
    lines: int = 50,
    process: str = "",
) -> int | None:
    """What the app's running instances print."""
    from deploykit.release.queries.logs import follow_logs, read_logs

    environment = open_from_here(env, app)
    for name, line in read_logs(environment, lines, process):
        say(f"{name} | {line}", keep=AS_LOGGED)
    if follow:
        try:
            for name, line in follow_logs(environment, process):
                say(f"{name} | {line}", keep=AS_LOGGED)
        except KeyboardInterrupt:
            return None
    return None


@command(help={"env": _ENV, "app": _APP})
def reap(_context: Context, env: str | None = None, app: str = "") -> int | None:
    """Do what is due: end warm versions, remove old artefacts. For cron."""
    from deploykit.release.housekeeping.reap import reap_now

    reaped = reap_now(open_from_here(env, app))
    for sentence in reaped.done:
        say(sentence)
    for sentence in reaped.problems:
        say(f"warning: {sentence}", stream=sys.stderr)
    if not reaped.done and not reaped.problems:
        say("nothing is due")
    return 1 if reaped.problems else 0


@command(help={"env": _ENV, "app": _APP, "discard-data": "lose the files that containers wrote into their own trees"})
def down(_context: Context, env: str | None = None, app: str = "", discard_data: bool = False) -> int | None:
    """End all that runs of this app here. Data, artefacts and the ledger stay."""
    from deploykit.release.housekeeping.down import take_down

    environment = open_from_here(env, app)
    for sentence in take_down(environment, discard_data=discard_data):
        say(sentence)
    say(f"{environment.app} is down in {environment.name}; next: invoke release --env {environment.name}")
    return None


@command(help={"env": _ENV, "app": _APP, "reason": "why, for the ledger", "hours": "how long at most"})
def lock(_context: Context, env: str | None = None, app: str = "", reason: str = "", hours: float = 8.0) -> int | None:
    """Keep everybody from releasing here, yourself included, until `invoke unlock`."""
    from deploykit.model import UsageError
    from deploykit.release.housekeeping.manual_lock import lock_environment

    if not reason:
        raise UsageError("say why it is locked", next_step=f'invoke lock --env {env or "local"} --reason "…"')
    environment = open_from_here(env, app)
    held = lock_environment(environment, reason, float(hours))
    say(f"{environment.name} is locked by {held.owner}: {held.reason}; next: invoke unlock --env {environment.name}")
    return None


@command(
    help={"env": _ENV, "app": _APP, "reason": "why, for the ledger", "force": "also a lock whose owner still works"}
)
def unlock(
    _context: Context, env: str | None = None, app: str = "", reason: str = "", force: bool = False
) -> int | None:
    """Take the environment's lock from its holder; the ledger records it."""
    from deploykit.release.housekeeping.manual_lock import unlock_environment

    environment = open_from_here(env, app)
    say(unlock_environment(environment, reason or "invoke unlock", force=force))
    return None


@command(help={"json": _JSON})
def version(_context: Context, json: bool = False) -> int | None:
    """The version of the present tree, and where it comes from."""
    from deploykit.artifacts.git import read_tree
    from deploykit.artifacts.version import version_of

    tree = read_tree(repository())
    found = version_of(tree)
    if json:
        print_json({"version": found, "commit": tree.commit, "tree": tree.tree, "dirty": tree.dirty})
    else:
        say(found)
    return None


TASKS = (status, history, verify, build, logs, execute, reap, down, lock, unlock, version)
