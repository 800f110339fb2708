"""`invoke rollout.pause`, `rollout.continue`, `rollout.promote`, `rollout.abort`: steer a rollout from any terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from deploykit.tasks.command import command, open_from_here
from deploykit.tasks.output import print_json, say

if TYPE_CHECKING:
    from invoke.context import Context

    from deploykit.release.execution.ledger_commands import CommandName

__all__ = ["NAME", "TASKS"]

NAME = "rollout"
_HELP = {
    "env": "the environment: local, staging, production …",
    "reason": "why, for the ledger",
    "app": "the app, where this folder is no repository",
    "json": "one JSON object on standard output",
}
_NOTHING = {"release": "", "answer": ""}
"""What `--json` says besides where nothing answered."""


@command(blank=_NOTHING, help=_HELP)
def pause(_context: Context, env: str | None = None, reason: str = "", app: str = "", json: bool = False) -> int | None:
    """Keep the rollout at its present share, until `rollout.continue`.

    It is still judged, and aborted where the version is bad.
    """
    return _ask("pause", env, reason, app, json)


@command(name="continue", blank=_NOTHING, help=_HELP)
def continue_(
    _context: Context, env: str | None = None, reason: str = "", app: str = "", json: bool = False
) -> int | None:
    """Go on with a rollout that is paused, or confirm a step that waits for it."""
    return _ask("continue", env, reason, app, json)


@command(blank=_NOTHING, help=_HELP)
def promote(
    _context: Context, env: str | None = None, reason: str = "", app: str = "", json: bool = False
) -> int | None:
    """Go on to the next step at once, whatever the judge still waits for."""
    return _ask("promote", env, reason, app, json)


@command(blank=_NOTHING, help=_HELP)
def abort(_context: Context, env: str | None = None, reason: str = "", app: str = "", json: bool = False) -> int | None:
    """Give the traffic back to the version before, and end the rollout."""
    return _ask("abort", env, reason, app, json)


def _ask(name: CommandName, env: str | None, reason: str, app: str, as_json: bool) -> int:
    from deploykit.release.workflow.rollout_commands import ask_rollout
    from deploykit.tasks.terminal import waiting_line

    environment = open_from_here(env, app)
    try:
        with waiting_line(sys.stderr) as tell:
            asked = ask_rollout(environment, name, reason, tell=tell)
    except KeyboardInterrupt:
        from deploykit.model import InconclusiveError

        raise InconclusiveError(
            "the answer was not waited for; what was asked stays asked",
            next_step=f"invoke history --env {environment.name}",
        ) from None
    if as_json:
        print_json(asked.as_json())
        return asked.exit_code
    stream = sys.stderr if asked.exit_code else sys.stdout
    answer = f"{asked.request.release} ({asked.version}): {asked.request.answer}"
    say(answer, f"  next: {asked.next_step}", stream=stream)
    return asked.exit_code


TASKS = (abort, continue_, pause, promote)
