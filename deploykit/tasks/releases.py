"""`invoke release` and `invoke rollback`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from deploykit.tasks.command import command, environment, print_json, say

if TYPE_CHECKING:
    from invoke.context import Context

    from deploykit.release.dry_run import Planned
    from deploykit.release.releaser import Releaser
    from deploykit.release.reporter import ReleaseReport
    from deploykit.release.surroundings import Surroundings

__all__ = ["TASKS"]

_TELLING = ("app", "service", "database", "environments")
_ENV = "the environment: local, staging, production …"
_JSON = "one JSON object on standard output; what people read goes to standard error"
_APP = "the app, where this folder is no repository"

_NOTHING = {"release": "", "version": "", "digest": "", "url": "", "stages": []}
"""What `--json` says besides when nothing was begun, so that a machine finds the same keys."""


@command(
    blank=_NOTHING,
    help={
        "env": _ENV,
        "plan": "show what would be done, and do nothing",
        "resume": "finish a release whose process was killed",
        "json": _JSON,
    },
)
def release(
    _context: Context, env: str | None = None, plan: bool = False, resume: bool = False, json: bool = False
) -> int | None:
    """Put the present tree into an environment: build, migrate, switch, verify.

    Any failure puts the traffic back by itself.
    Exit codes: 0 done, 1 failed, 2 inconclusive, 3 usage.
    """
    if plan and resume:
        from deploykit.model import UsageError

        raise UsageError("--plan and --resume don't go together", next_step="leave one of them out")
    around = environment(env, sources=True)
    if plan:
        from deploykit.release.dry_run import plan_release

        return _planned(plan_release(around), json)
    releaser = _releaser(around, f"release of {around.app} to {around.name}", assuming=not resume)
    return _reported(releaser.resume() if resume else releaser.release(), json)


@command(
    blank=_NOTHING,
    help={
        "env": _ENV,
        "to": "the version or release to go back to (see invoke history); the one before by default",
        "plan": "show what would be done, and do nothing",
        "app": _APP,
        "json": _JSON,
    },
)
def rollback(
    _context: Context, env: str | None = None, to: str = "", plan: bool = False, app: str = "", json: bool = False
) -> int | None:
    """Give the traffic back to the version before, or undo an unfinished release.

    A version that is still warm gets it at once; one that is gone is started
    again from its artefact.
    """
    around = environment(env, app)
    if plan:
        from deploykit.release.dry_run import plan_rollback

        return _planned(plan_rollback(around, to), json)
    releaser = _releaser(around, f"rollback of {around.app} in {around.name}", assuming=False)
    return _reported(releaser.rollback(to), json)


def _releaser(around: Surroundings, title: str, *, assuming: bool) -> Releaser:
    """What does it, after saying what it does and, where settings count, what was taken for those that are not given."""
    from deploykit.release.releaser import Releaser
    from deploykit.release.text import filled, width
    from deploykit.tasks.terminal import TerminalReporter

    say(filled(title, width(sys.stderr)), sys.stderr)
    sentences = around.loaded.assumed if assuming and around.loaded is not None else ()
    for sentence in sentences:
        if sentence.startswith(_TELLING):
            say(filled(sentence, width(sys.stderr), first="  assumed: ", rest=" " * 11), sys.stderr)
    return Releaser(around=around, reporter=TerminalReporter(), ends_process=True)


def _reported(report: ReleaseReport, as_json: bool) -> int:
    from deploykit.tasks.terminal import release_lines

    stream = sys.stderr if as_json or report.exit_code else sys.stdout
    say(release_lines(report, stream=stream), stream)
    if as_json:
        print_json(report.as_json())
    return report.exit_code


def _planned(planned: Planned, as_json: bool) -> int:
    if as_json:
        print_json(planned.as_json())
    else:
        for line in planned.lines(sys.stdout):
            print(line)
    return planned.exit_code


TASKS = (release, rollback)
