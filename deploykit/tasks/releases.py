"""`invoke release` and `invoke rollback`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from deploykit.tasks.command import command, open_from_here
from deploykit.tasks.output import print_json, print_lines, say

if TYPE_CHECKING:
    from invoke.context import Context

    from deploykit.release.environment import Environment
    from deploykit.release.queries.dry_run import Planned
    from deploykit.release.reporting.reporter import ReleaseReport, Reporter

__all__ = ["TASKS"]

_TELLING = ("app", "service", "database", "environments")
_ENV = "the environment: local, staging, production …"
_JSON = "one JSON object on standard output; what people read goes to standard error"
_EVENTS = "a file to which each event is appended as a line of JSON, as it happens"
_APP = "the app, where this folder is no repository"

_NOTHING = {"release": "", "version": "", "digest": "", "url": "", "stages": []}
"""What `--json` says besides when nothing was begun, so that a machine finds the same keys."""


@command(
    blank=_NOTHING,
    help={
        "env": _ENV,
        "plan": "show what would be done, and do nothing",
        "resume": "finish a release whose process was killed",
        "discard-data": "lose the files that the live version wrote into its own tree",
        "events": _EVENTS,
        "json": _JSON,
    },
)
def release(
    _context: Context,
    env: str | None = None,
    plan: bool = False,
    resume: bool = False,
    discard_data: bool = False,
    events: str = "",
    json: bool = False,
) -> int | None:
    """Put the present tree into an environment: build, migrate, switch, verify.

    Any failure puts the traffic back by itself.
    Exit codes: 0 done, 1 failed, 2 inconclusive, 3 usage.
    """
    if plan and resume:
        from deploykit.model import UsageError

        raise UsageError("--plan and --resume don't go together", next_step="leave one of them out")
    environment = open_from_here(env, sources=True)
    if plan:
        from deploykit.release.queries.dry_run import plan_release

        return _planned(plan_release(environment, discard_data=discard_data), json)
    reporter = _reporter(events)
    _print_title(f"release of {environment.app} to {environment.name}")
    if resume:
        from deploykit.release.workflow.resume import resume as run_resume

        return _print_report(run_resume(environment, reporter, ends_process=True), json)
    from deploykit.release.workflow.release import release as run_release

    _print_assumptions(environment)
    report = run_release(environment, reporter, discard_data=discard_data, ends_process=True)
    return _print_report(report, json)


@command(
    blank=_NOTHING,
    help={
        "env": _ENV,
        "to": "the version or release to go back to (see invoke history); the one before by default",
        "plan": "show what would be done, and do nothing",
        "app": _APP,
        "events": _EVENTS,
        "json": _JSON,
    },
)
def rollback(
    _context: Context,
    env: str | None = None,
    to: str = "",
    plan: bool = False,
    app: str = "",
    events: str = "",
    json: bool = False,
) -> int | None:
    """Give the traffic back to the version before, or undo an unfinished release.

    A version that is still warm gets it at once; one that is gone is started
    again from its artefact.
    """
    environment = open_from_here(env, app)
    if plan:
        from deploykit.release.queries.dry_run import plan_rollback

        return _planned(plan_rollback(environment, to), json)
    from deploykit.release.workflow.rollback import rollback as run_rollback

    reporter = _reporter(events)
    _print_title(f"rollback of {environment.app} in {environment.name}")
    return _print_report(run_rollback(environment, reporter, to, ends_process=True), json)


def _reporter(events: str) -> Reporter:
    """Raises UsageError where `events` is no file that can be written."""
    from deploykit.tasks.terminal import TerminalReporter

    if not events:
        return TerminalReporter()
    from deploykit.tasks.events import EventsReporter, open_events

    return EventsReporter(TerminalReporter(), open_events(events))


def _print_title(title: str) -> None:
    from deploykit.release.reporting.text import filled, width

    print_lines(filled(title, width(sys.stderr)), sys.stderr)


def _print_assumptions(environment: Environment) -> None:
    """What was assumed for settings that are not given."""
    from deploykit.release.reporting.text import filled, width

    for sentence in environment.repository.loaded.assumed if environment.repository is not None else ():
        if sentence.startswith(_TELLING):
            print_lines(filled(sentence, width(sys.stderr), first="  assumed: ", rest=" " * 11), sys.stderr)


def _print_report(report: ReleaseReport, as_json: bool) -> int:
    from deploykit.tasks.terminal import release_lines

    stream = sys.stderr if as_json or report.exit_code else sys.stdout
    print_lines(release_lines(report, stream=stream), stream)
    if as_json:
        print_json(report.as_json())
    return report.exit_code


def _planned(planned: Planned, as_json: bool) -> int:
    if as_json:
        print_json(planned.as_json())
    else:
        for line in planned.lines(sys.stdout):
            say(line)
    return planned.exit_code


TASKS = (release, rollback)
