"""`invoke db.lint`: the gate `migrations` on this tree, on a range of its revisions, or on files of SQL. The others:
`changes`.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from deploykit.tasks import changes
from deploykit.tasks.command import command, repository
from deploykit.tasks.output import print_json, say

if TYPE_CHECKING:
    from invoke.context import Context

__all__ = ["NAME", "TASKS"]

NAME = "db"


@command(
    help={
        "revs": "only the revisions after A up to B (A:B), which are applied together; A or B may be empty",
        "sql": "a file of SQL (from where you are), in place of the revisions; may be given several times",
        "force": "judge although nothing changed since it passed",
        "json": "one JSON object on standard output; what people read goes to standard error",
    },
    iterable=["sql"],
)
def lint(
    _context: Context, revs: str = "", sql: list[str] | None = None, force: bool = False, json: bool = False
) -> int | None:
    """Judge the migrations: locks, breaking changes, lost data.

    Exit codes: 0 passed, 1 findings, 2 inconclusive, 3 usage.
    """
    from deploykit.artifacts.git import tree_of
    from deploykit.gates.report import render, wants_color
    from deploykit.gates.run import run_gate
    from deploykit.tasks.terminal import width

    root = repository()
    arguments = [
        *(("--revs", revs) if revs else ()),
        *(word for name in sql or () for word in ("--sql", os.path.relpath(name, root))),
    ]
    verdict = run_gate("migrations", root, tree=lambda: tree_of(root), arguments=arguments, force=force)
    stream = sys.stderr if json else sys.stdout
    color = wants_color(os.environ, is_terminal=stream.isatty())
    say(*render(verdict, color=color, width=width(stream)), stream=stream)
    if json:
        print_json(verdict.as_json())
    return verdict.outcome.exit_code


TASKS = (lint, *changes.TASKS)
