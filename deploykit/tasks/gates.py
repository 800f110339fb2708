"""The gates as tasks: `invoke gate NAME` on any tree, and the daily `lint`, `test`, `security`, `ci` on this one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deploykit.tasks.command import command, repository
from deploykit.tasks.output import print_json, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from invoke.context import Context

    from deploykit.model import Outcome, Verdict

__all__ = ["TASKS"]

_FORCE = "run it although nothing changed since it passed"
_JSON = "one JSON object on standard output; what people read goes to standard error"


@command(
    positional=["name"],
    help={
        "name": (
            "lint, typing, test, coverage, sast, audit, secrets, security (the last three), migrations, format, image "
            "or workflows"
        ),
        "path": "the tree to look at; it need not know the kit",
        "base": "coverage: the revision that changed lines are counted from",
        "force": _FORCE,
        "report": "also write a report: FORMAT=PATH (json, sarif, junit, gitlab); may be given several times",
        "json": _JSON,
    },
    iterable=["report"],
)
def gate(
    _context: Context,
    name: str,
    path: str = "",
    base: str = "",
    report: list[str] | None = None,
    force: bool = False,
    json: bool = False,
) -> int | None:
    """Run one gate on a tree; a pass stays valid while nothing changes.

    Exit codes: 0 passed, 1 findings, 2 inconclusive, 3 usage.
    """
    return _run(
        [name], Path(path) if path else repository(), as_json=json, base=base, reports=report or (), force=force
    )


@command(help={"json": _JSON})
def lint(_context: Context, json: bool = False) -> int | None:
    """Lint and format check of this tree."""
    return _run(["lint"], repository(), as_json=json)


@command(help={"json": _JSON})
def test(_context: Context, json: bool = False) -> int | None:  # noqa: PT028 - a task, no test
    """The tests of this tree, in an environment made from its lock."""
    return _run(["test"], repository(), as_json=json)


@command(help={"json": _JSON})
def security(_context: Context, json: bool = False) -> int | None:
    """SAST, audit of the dependencies, and secrets."""
    return _run(["security"], repository(), as_json=json)


@command(
    help={
        "affected": "a base: only the gates that the changes since then can reach; it says which it left out and why",
        "force": _FORCE,
        "json": _JSON,
    }
)
def ci(_context: Context, affected: str = "", force: bool = False, json: bool = False) -> int | None:
    """Every gate, in parallel; what did not change is not run again.

    The worst outcome is the answer: 0 passed, 1 findings, 2 inconclusive,
    3 usage.
    """
    from deploykit.tasks.ci import run_ci

    return run_ci(repository(), as_json=json, force=force, affected=affected)


def _run(
    names: Sequence[str],
    root: Path,
    *,
    as_json: bool,
    base: str = "",
    reports: Sequence[str] = (),
    force: bool = False,
) -> int:
    from deploykit.artifacts.git import tree_of
    from deploykit.gates.report import render, summary_line, wants_color
    from deploykit.gates.reports import parse_report_request, write_report
    from deploykit.gates.run import run_gate
    from deploykit.model import Outcome
    from deploykit.tasks.terminal import width

    stream = sys.stderr if as_json else sys.stdout
    color = wants_color(os.environ, is_terminal=stream.isatty())
    verdicts: list[Verdict] = []
    for request in reports:
        parse_report_request(request)  # before the work, not after it
    for name in names:
        if len(names) > 1 or stream.isatty():
            say(f"{name} …", stream=sys.stderr)
        verdict = run_gate(name, root, tree=lambda: tree_of(root), base=base, force=force)
        for request in reports:
            write_report(verdict, request)
        verdicts.append(verdict)
        say(*render(verdict, color=color, width=width(stream)), stream=stream)
    if len(verdicts) > 1:
        say("", stream=stream)
        for verdict in verdicts:
            say(summary_line(verdict), stream=stream)
    if as_json:
        whole = [verdict.as_json() for verdict in verdicts]
        print_json(whole[0] if len(whole) == 1 else {"outcome": _worst(verdicts).value, "verdicts": whole})
    return _worst(verdicts).exit_code if verdicts else Outcome.INCONCLUSIVE.exit_code


def _worst(verdicts: Sequence[Verdict]) -> Outcome:
    from deploykit.model import Outcome

    return Outcome.worst([verdict.outcome for verdict in verdicts])


TASKS = (gate, lint, test, security, ci)
