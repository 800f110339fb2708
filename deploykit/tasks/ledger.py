"""`invoke ledger.adopt`: restore a lost ledger from what runs. `ledger.accept`: go on with another one.
`ledger.claim`: whose environment it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.tasks.command import command, open_from_here
from deploykit.tasks.output import print_json, say

if TYPE_CHECKING:
    from invoke.context import Context

__all__ = ["NAME", "TASKS"]

NAME = "ledger"


_ENV = "the environment: local, staging, production …"


@command(
    help={
        "env": _ENV,
        "app": "the app, where this folder is no repository",
        "json": "one JSON object on standard output",
        "replace": "also a ledger that does not hold: it starts again",
    }
)
def adopt(
    _context: Context, env: str | None = None, app: str = "", json: bool = False, replace: bool = False
) -> int | None:
    """Restore a lost ledger from what runs; a rollback does so by itself.

    What runs says which release it is; the edge says who has the traffic.
    """
    from deploykit.release.housekeeping.adopt import adopt_lines, adopt_now

    environment = open_from_here(env, app)
    adopted = adopt_now(environment, replace=replace)
    if json:
        print_json(adopted.as_json())
        return None
    for line in adopt_lines(adopted, environment.name):
        say(line)
    say(f"  next: invoke history --env {environment.name} --check")
    return None


@command(help={"env": _ENV})
def claim(_context: Context, env: str | None = None) -> int | None:
    """Say that this repository is the app in the environment, too: it moved.

    Where two repositories have the same app by mistake, set another `app` in
    one of them instead.
    """
    from dataclasses import replace

    from deploykit.release.housekeeping.claims import add_claim

    environment = replace(open_from_here(env, sources=True), compares=False)
    added = add_claim(environment)
    say(f"{environment.app} in {environment.name} is released from here, too: {added}")
    say(f"  next: invoke status --env {environment.name}")
    return None


@command(help={"env": _ENV, "app": "the app, where this folder is no repository"})
def accept(_context: Context, env: str | None = None, app: str = "") -> int | None:
    """Go on with a ledger that is another one than this machine knew.

    It was restored from a backup, say, or moved. It has to hold in itself.
    """
    from deploykit.release.housekeeping.accept import accept_ledger

    environment = open_from_here(env, app)
    for line in accept_ledger(environment):
        say(f"  forgotten: {line}")
    say(f"from now on this machine compares with the ledger of {environment.name} as it is")
    say(f"  next: invoke history --env {environment.name} --check")
    return None


TASKS = (accept, adopt, claim)
