"""What happens inside a session: make its environment, run the gate, print the verdict, hand it on as a file."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deploykit.artifacts.git import tree_of
from deploykit.gates.catalog import coverage_gate
from deploykit.gates.combined_verdict import SECURITY_GATES, combine
from deploykit.gates.interface import WORK_FOLDER, Gate, Toolbox
from deploykit.gates.report import render, summary_line
from deploykit.gates.run import PROJECT_GATES, run_gate
from deploykit.gates.test import TestGate
from deploykit.gates.verdict_files import read_recorded, record_verdict, with_what_is_not_written
from deploykit.model import Outcome, Verdict
from deploykit.model.printable import printed
from deploykit.sessions import RUN_VARIABLE
from deploykit.sessions.output import in_colour, print_tool_line, say
from deploykit.sessions.toolbox import session_toolbox

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import nox

    from deploykit.settings.models import Settings

__all__ = ["combine_security", "print_outcomes", "run_coverage", "run_session", "run_tests"]


def run_session(session: nox.Session, name: str) -> None:
    """Run the gate `name` as this session: its verdict is printed and recorded, and anything but a pass fails."""
    # What follows `--` is given to every session of the run, and is meant for pytest.
    _run(session, name, arguments=session.posargs if name == "test" else ())


def run_tests(session: nox.Session, name: str, *, paths: Sequence[str], arguments: Sequence[str]) -> None:
    """Run a test gate of another name, over other paths."""

    def build(settings: Settings) -> Gate:
        return TestGate(
            name=name,
            paths=tuple(paths),
            arguments=tuple(arguments),
            source=settings.coverage.source,
            allowed_skips=settings.tests.allowed_skips,
        )

    _run(session, name, arguments=session.posargs, build=build)


def run_coverage(session: nox.Session, required: tuple[str, ...]) -> None:
    """Judge the coverage of the sessions of tests in `required`, together with others of the same tree."""

    def build(settings: Settings) -> Gate:
        return coverage_gate(settings, required=required)

    _run(session, "coverage", arguments=(), build=build)


def _run(
    session: nox.Session, name: str, *, arguments: Sequence[str], build: Callable[[Settings], Gate] | None = None
) -> None:
    root = Path.cwd()

    def make(root: Path, settings: Settings, environment: Mapping[str, str]) -> Toolbox:
        in_project = build is not None or name in PROJECT_GATES
        return session_toolbox(session, name, root, settings, environment, in_project=in_project)

    verdict = run_gate(
        name,
        root,
        tree=lambda: tree_of(root),
        arguments=arguments,
        make_toolbox=make,
        build=build,
        record=lambda verdict: _record(root, verdict),
        on_line=print_tool_line,
    )
    say(render(verdict, color=in_colour(), width=_width()))
    if arguments:
        say(["  narrowed by arguments: not recorded as evidence"])
    if name in SECURITY_GATES:
        _print_combined(root, color=in_colour())
    _end(session, verdict)


def combine_security(session: nox.Session) -> None:
    """The session `security`: sast, audit and secrets have passed before it, else nox would not run it."""
    root = Path.cwd()
    tree = tree_of(root)
    recorded = [read_recorded(root, gate) for gate in SECURITY_GATES]
    verdict = combine("security", [item[0] for item in recorded if item], tree=tree)
    verdict = with_what_is_not_written(verdict, lambda verdict: _record(root, verdict))
    say(render(verdict, color=in_colour(), width=_width(), findings=False))
    _end(session, verdict)


def print_outcomes(root: Path, run: str) -> None:
    """The last words of a nox run: every gate with its outcome."""
    lines = []
    for path in sorted((root / WORK_FOLDER / "verdicts").glob("*.json")):
        recorded = read_recorded(root, path.stem)
        if recorded and recorded[1].get("run") == run:
            lines.append((recorded[1].get("recorded_at", 0), summary_line(recorded[0])))
    if lines:
        say(["Outcomes:", *(f"  {line}" for _, line in sorted(lines))], stream=sys.stderr)


def _record(root: Path, verdict: Verdict) -> None:
    """Where a session's verdict goes. This is the one place to hand it to the ledger as well."""
    record_verdict(root, verdict, run=os.environ.get(RUN_VARIABLE, ""))


def _print_combined(root: Path, *, color: bool) -> None:
    """When this was the last of the three and not all passed, nox aborts `security`: so its outcome is said here."""
    run = os.environ.get(RUN_VARIABLE, "")
    recorded = [read_recorded(root, gate) for gate in SECURITY_GATES]
    verdicts = [item[0] for item in recorded if item and run and item[1].get("run") == run]
    if len(verdicts) < len(SECURITY_GATES) or all(verdict.outcome is Outcome.PASSED for verdict in verdicts):
        return
    verdict = combine("security", verdicts, tree=verdicts[0].tree)
    verdict = with_what_is_not_written(verdict, lambda verdict: _record(root, verdict))
    say(render(verdict, color=color, width=_width(), findings=False))


def _end(session: nox.Session, verdict: Verdict) -> None:
    if verdict.outcome is not Outcome.PASSED:
        session.error(printed(summary_line(verdict)))


def _width() -> int:
    return min(shutil.get_terminal_size((80, 24)).columns, 120)
