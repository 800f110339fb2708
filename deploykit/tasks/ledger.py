"""`invoke ledger.adopt`: a lost ledger is created again from what runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.tasks.command import command, open_from_here
from deploykit.tasks.output import print_json

if TYPE_CHECKING:
    from invoke.context import Context

__all__ = ["NAME", "TASKS"]

NAME = "ledger"


@command(
    help={
        "env": "the environment: local, staging, production …",
        "app": "the app, where this folder is no repository",
        "json": "one JSON object on standard output",
    }
)
def adopt(_context: Context, env: str | None = None, app: str = "", json: bool = False) -> int | None:
    """Create a lost ledger again from what runs; a rollback does so by itself.

    What runs says which release it is; the edge says who has the traffic.
    """
    from deploykit.release.housekeeping.adopt import adopt_lines, adopt_now

    environment = open_from_here(env, app)
    adopted = adopt_now(environment)
    if json:
        print_json(adopted.as_json())
        return None
    for line in adopt_lines(adopted, environment.name):
        print(line)
    print(f"  next: invoke history --env {environment.name} --check")
    return None


TASKS = (adopt,)
