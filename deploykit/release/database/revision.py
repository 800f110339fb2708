"""`invoke db.revision`: revisions are written into the present tree, compared with a database that is made for it and
thrown away.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from deploykit.model import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deploykit.settings.models import Settings

__all__ = ["revise"]

_SECONDS = 300.0


def revise(root: Path, *, message: str, mode: str, database: str = "") -> Mapping[str, Any]:
    """Write the revisions. `mode`: empty, autogenerate, contract. `database` is the URL of one that may be
    overwritten; empty: an embedded one is started. Raises DeploykitError.
    """
    from deploykit.schema.scratch import scratch_database
    from deploykit.settings.loader import load

    settings = load(root).settings
    if not settings.database.migrations:
        raise UsageError(
            "there are no migrations here",
            next_step="alembic init migrations, or say where they are: database.migrations in [tool.deploykit]",
        )
    with contextlib.ExitStack() as stack:
        url = (database or stack.enter_context(scratch_database())) if mode == "autogenerate" else ""
        return _run(root, settings, message, mode, url)


def _run(root: Path, settings: Settings, message: str, mode: str, url: str) -> Mapping[str, Any]:
    from deploykit.gates.run import managed_toolbox
    from deploykit.process.run import run
    from deploykit.schema.runner import parse_change, revise_command
    from deploykit.schema.scratch import with_driver

    variable = settings.database.variable
    environment = {name: value for name, value in os.environ.items() if name not in {variable, "PGOPTIONS"}}
    if url:
        environment[variable] = with_driver(url, settings.database.driver)
    python = managed_toolbox(root, settings, environment).application_python()
    argv = revise_command(python, settings.database.migrations, root, message=message, mode=mode, variable=variable)
    result = run(argv, cwd=root, env=environment, timeout=_SECONDS, check=False)
    return parse_change([*result.stderr.splitlines(), *result.stdout.splitlines()])
