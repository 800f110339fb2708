"""Output on a terminal: short lines, colour where it is wanted, and a spinner on interactive terminals."""

from __future__ import annotations

import os
import shutil
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from deploykit.release.reporting.text import filled, width
from deploykit.tasks.output import print_lines, silence_broken_streams
from deploykit.tasks.spinner import Spinner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deploykit.release.reporting.live_view import LiveView
    from deploykit.release.reporting.reporter import ReleaseReport, Stage

__all__ = ["TerminalReporter", "coloured", "error_lines", "paint", "release_lines", "waiting_line", "width"]

_VIEW_SECONDS = 10.0
"""Between two lines about the same, where they are printed one below the other."""
_QUIET_VIEW_SECONDS = 60.0
"""The same while no request comes. There are runners that end what says nothing for long."""
_MIN_NOTE_WIDTH = 24
"""A note needs so many columns to appear beside its stage; with fewer it goes below."""
_VERBS = {"cancelled": "was cancelled", "running": "has not ended", "unfinished": "has not ended"}
_CODES = {"red": "31", "green": "32", "yellow": "33", "dim": "2", "bold": "1"}


def coloured(stream: TextIO) -> bool:
    """Whether the stream gets colour: NO_COLOR and FORCE_COLOR decide, else whether somebody looks at it."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, stream: TextIO) -> str:
    from deploykit.model.printable import painted

    return painted(text, _CODES[colour]) if coloured(stream) else text


def error_lines(message: str, details: Sequence[str], next_step: str, *, stream: TextIO) -> list[str]:
    """A failure as a person reads it: the sentence, what was seen, the next command.

    Details that are indented are somebody else's words, such as log lines: they stay as they are.
    """
    limit = width(stream)
    shown = _headed("error: ", "red", filled(message, limit, first=" " * 7, rest=" " * 7), stream)
    for line in "\n".join(details).expandtabs().splitlines():
        shown += [f"  {line}"] if line.startswith(" ") else filled(line, limit, first="  ", rest="    ")
    first, *rest = next_step.splitlines() or [""]
    if first:
        shown += _headed("  next: ", "bold", filled(first, limit, first=" " * 8, rest=" " * 8), stream)
    # Indented, so that no part of a file's name can look like a line of its own.
    return [*shown, *(f"  {line}".rstrip() for line in rest)]


def _headed(head: str, colour: str, lines: Sequence[str], stream: TextIO) -> list[str]:
    """The lines, whose first begins with as many blanks, under a coloured head."""
    return [paint(head, colour, stream) + lines[0][len(head) :], *lines[1:]]


def release_lines(report: ReleaseReport, *, stream: TextIO) -> list[str]:
    """The end of a release: what came of it, what users get now, and what to type next."""
    seconds = sum(stage.seconds for stage in report.stages)
    return ["", *(_failed(report, seconds, stream) if report.exit_code else _done(report, seconds, stream))]


def _done(report: ReleaseReport, seconds: float, stream: TextIO) -> list[str]:
    env = f"--env {report.environment}"
    what = f"{report.live or 'nothing'} is live"
    rows = [
        ("url", report.url),
        ("version", report.version),
        ("method", report.method),
        ("digest", report.digest),
        ("ledger", report.anchor[:16]),
    ]
    steps = [f"invoke status {env}", f"invoke rollback {env}   (to {report.back_to})"]
    if not report.live:
        rows, steps = [], [f"invoke release {env}"]
    elif not report.back_to:
        steps[1:] = [f"invoke history {env}"]
    return [
        *_painted(f"{what} in {report.environment}, {seconds:.1f} s", "green", stream),
        *(
            line
            for name, value in rows
            if value
            for line in filled(value, width(stream), first=f"  {name:<8} ", rest=" " * 11)
        ),
        *(filled(report.reason, width(stream), first="  note     ", rest=" " * 11) if report.reason else ()),
        *(f"  {'' if index else 'next':<8} {step}" for index, step in enumerate(steps)),
    ]


def _failed(report: ReleaseReport, seconds: float, stream: TextIO) -> list[str]:
    env = report.environment
    named = f"{report.version or 'the release'} ({report.release})"
    what = f"the {report.kind} to {named}" if report.kind == "rollback" else named
    verb = _VERBS.get(report.outcome, report.outcome)
    next_step = report.next_step or f"invoke status --env {env}"
    has = "has the traffic" if report.live.endswith(f"({report.release})") else "still has the traffic"
    return [
        *_painted(f"{what} {verb} in {env}, {seconds:.1f} s", "red", stream),
        f"  {report.live} {has}" if report.live else "  nothing has the traffic",
        *error_lines(report.reason, report.details, next_step, stream=stream),
    ]


def _painted(text: str, colour: str, stream: TextIO) -> list[str]:
    return [paint(line, colour, stream) for line in filled(text, width(stream))]


@contextmanager
def waiting_line(stream: TextIO) -> Iterator[Callable[[str], None]]:
    """What is called with a text shows it, on a terminal, until the block is left: this is waited for."""
    reporter = TerminalReporter(stream)
    try:
        yield reporter.stage_started
    finally:
        reporter.stop_waiting()


@dataclass
class TerminalReporter:
    """Prints each stage as it ends, with its time; on a terminal a spinner shows the one that runs."""

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    clock: Callable[[], float] = time.monotonic
    _spinner: Spinner | None = None
    _viewed: LiveView | None = None
    """The view that was printed last, where it is printed line by line, and when that was."""
    _viewed_at: float = 0.0

    def stage_started(self, name: str) -> None:
        if not self.stream.isatty() or os.environ.get("CI") or os.environ.get("TERM") == "dumb":
            return
        if self._spinner is None:
            shown = coloured(self.stream)
            self._spinner = Spinner(self._write, encoding=self.stream.encoding or "utf-8", coloured=shown)
        self._spinner.start(name)

    def stop_waiting(self) -> None:
        if self._spinner is not None:
            self._spinner.stop()

    def stage_ended(self, stage: Stage) -> None:
        self.stop_waiting()
        self._print_stage(stage)

    def _print_stage(self, stage: Stage) -> None:
        colour = {"done": "green", "cancelled": "yellow"}.get(stage.outcome, "red")
        plain = f"  {stage.outcome:<9} {stage.name:<10} {stage.seconds:6.2f} s"
        head = plain.replace(stage.outcome, paint(stage.outcome, colour, self.stream), 1)
        first, rest = plain + "  ", " " * (len(plain) + 2)
        if width(self.stream) - len(first) < _MIN_NOTE_WIDTH:
            self._print(
                [head, *(filled(stage.note, width(self.stream), first="    ", rest="    ") if stage.note else ())]
            )
            return
        lines = filled(stage.note, width(self.stream), first=first, rest=rest)
        self._print([head + lines[0][len(plain) :], *lines[1:]])

    def note(self, text: str) -> None:
        self._print_note(text, "dim", "  ", "    ")

    def warn(self, text: str) -> None:
        self._print_note(f"warning: {text}", "yellow", "  ", "    ")

    def view(self, view: LiveView) -> None:
        """Redraw it below the spinner; in a log or a pipe, print a line at each change, and now and then in between."""
        if self._spinner is not None:
            from deploykit.model.printable import printed

            # Cut when control characters have been escaped: a line that wraps would be drawn over in the wrong place.
            limit = max(shutil.get_terminal_size((80, 24)).columns - 1, 1)
            self._spinner.show_below([printed(line)[:limit] for line in view.lines(limit)])
            return
        before, passed = self._viewed, self.clock() - self._viewed_at
        if before is not None and before.phase == view.phase:
            news = before.candidate != view.candidate
            if passed < (_VIEW_SECONDS if news else _QUIET_VIEW_SECONDS):
                return
        self._viewed, self._viewed_at = view, self.clock()
        self._print_note(view.line(), "dim", "  ", "    ")

    def _print_note(self, text: str, colour: str, first: str, rest: str) -> None:
        lines = filled(text, width(self.stream), first=first, rest=rest)
        self._print([paint(line, colour, self.stream) for line in lines])

    def _print(self, lines: Sequence[str]) -> None:
        if self._spinner is not None:
            from deploykit.model.printable import printed

            self._spinner.print_above("\n".join(map(printed, lines)))
        else:
            print_lines(lines, self.stream)

    def _write(self, text: str) -> None:
        """Write to the stream. If the terminal has gone, the text is lost and the release continues."""
        try:
            self.stream.write(text)
            self.stream.flush()
        except OSError:
            silence_broken_streams()
