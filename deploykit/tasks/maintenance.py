"""`invoke maintenance.on` and `maintenance.off`: users get the maintenance page, or the app again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from deploykit.tasks.command import command, open_from_here
from deploykit.tasks.output import print_json, say

if TYPE_CHECKING:
    from invoke.context import Context

__all__ = ["NAME", "TASKS"]

NAME = "maintenance"
_HELP = {
    "env": "the environment: local, staging, production …",
    "app": "the app, where this folder is no repository",
    "json": "one JSON object on standard output",
}


@command(name="on", help=_HELP)
def switch_on(_context: Context, env: str | None = None, app: str = "", json: bool = False) -> None:
    """Show users the maintenance page; the app goes on running behind it."""
    _switch(env, app, json, enabled=True)


@command(name="off", help=_HELP)
def switch_off(_context: Context, env: str | None = None, app: str = "", json: bool = False) -> None:
    """Show users the app again."""
    _switch(env, app, json, enabled=False)


def _switch(env: str | None, app: str, as_json: bool, *, enabled: bool) -> None:
    from deploykit.release.housekeeping.maintenance import set_maintenance

    def warn(text: str) -> None:
        say(f"warning: {text}", stream=sys.stderr)

    switched = set_maintenance(open_from_here(env, app), enabled=enabled, warn=warn)
    if as_json:
        print_json(switched.as_json())
    else:
        say(switched.sentence, f"  next: {switched.next_step}")


TASKS = (switch_off, switch_on)
