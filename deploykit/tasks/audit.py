"""`invoke audit.update`: a newer offline copy of the advisories."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deploykit.tasks.command import command, repository
from deploykit.tasks.output import print_json, print_lines

if TYPE_CHECKING:
    from invoke.context import Context

    from deploykit.gates.audit.advisories import AdvisoryCopy

__all__ = ["NAME", "TASKS"]

NAME = "audit"


@command(
    help={
        "from_": "a file, or an https address: OSV records as JSON lines, or a zip",
        "to": "where the copy is kept; else as DEPLOYKIT_ADVISORIES or the settings say",
        "force": "take it even if it is older or much smaller than what is there",
        "json": "one JSON object on standard output",
    },
)
def update(_context: Context, from_: str = "", to: str = "", force: bool = False, json: bool = False) -> int | None:
    """Take in a newer offline copy of the advisories, read to its end.

    A copy that is cut off, older or much smaller never replaces the present one.
    """
    from deploykit.gates.audit.advisories.update import update_copy
    from deploykit.model import UsageError

    if not from_:
        raise UsageError("nothing says where the advisories come from", next_step="--from PATH or --from https://…")
    done = update_copy(from_, _target(to), force=force)
    counted = f"{len(done.after.by_id)} advisories in force, {done.after.withdrawn} withdrawn"
    lines = [f"{done.path}: {counted}, the newest of {_day(done.after)}"]
    if done.before is not None:
        lines.append(f"  before: {len(done.before.by_id)} in force, the newest of {_day(done.before)}")
    lines.append("  next: invoke gate audit")
    print_lines(lines, sys.stderr if json else sys.stdout)
    if json:
        print_json(
            {
                "path": str(done.path),
                "in_force": len(done.after.by_id),
                "withdrawn": done.after.withdrawn,
                "newest": _day(done.after),
                "before": None
                if done.before is None
                else {"in_force": len(done.before.by_id), "newest": _day(done.before)},
            }
        )
    return None


def _target(to: str) -> Path:
    from deploykit.gates.audit.gate import ADVISORIES_VARIABLE
    from deploykit.model import UsageError
    from deploykit.settings.loader import load

    if to:
        return Path(to).expanduser().absolute()
    root = repository()
    given = os.environ.get(ADVISORIES_VARIABLE) or load(root, environ=os.environ).settings.security.audit.advisories
    if not given:
        raise UsageError(
            "nothing says where the copy is kept",
            next_step="--to PATH, or advisories = PATH under [tool.deploykit.security.audit]",
        )
    return (root / Path(given).expanduser()).absolute()


def _day(copy: AdvisoryCopy) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(copy.modified, UTC).date().isoformat()


TASKS = (update,)
