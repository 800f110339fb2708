"""How `invoke ci` looks: a live board on a terminal, a line for each gate that ends in a pipe, a table at the end."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, TextIO, cast

from deploykit.model import Outcome
from deploykit.tasks.output import print_lines
from deploykit.tasks.terminal import paint, width

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.table import Table

    from deploykit.tasks.ci_progress import Progress

__all__ = ["board", "summary"]

_COLOURS = {Outcome.PASSED: "green", Outcome.INCONCLUSIVE: "yellow"}
_NAME, _WORD = 9, 13


@contextmanager
def board(names: Sequence[str], progress: Progress, *, stream: TextIO) -> Iterator[Callable[[], None]]:
    """Gives the function that shows the progress as it is now."""
    if not stream.isatty() or os.environ.get("CI") or os.environ.get("TERM") == "dumb":
        said = set(progress.cached)

        def tell() -> None:
            for name in [name for name in progress.verdicts if name not in said]:
                said.add(name)
                verdict = progress.verdicts[name]
                print_lines([f"{name}: {verdict.outcome.value} ({verdict.evidence.seconds:.1f} s)"], stream)

        yield tell
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(file=cast("IO[str]", stream))
    with Live(_table(names, progress), console=console, transient=True, refresh_per_second=8) as live:
        yield lambda: live.update(_table(names, progress))


def _table(names: Sequence[str], progress: Progress) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    now = time.monotonic()
    for name in names:
        if name in progress.verdicts:
            verdict = progress.verdicts[name]
            word, colour = verdict.outcome.value, _COLOURS.get(verdict.outcome, "red")
            seconds = "not run again" if name in progress.cached else f"{verdict.evidence.seconds:.1f} s"
        elif name in progress.started:
            word, colour, seconds = "running …", "bold", f"{now - progress.started[name]:.0f} s"
        else:
            word, colour, seconds = "waiting", "dim", ""
        table.add_row(Text(name), Text(word, style=colour), Text(seconds))
    return table


def summary(
    names: Sequence[str], progress: Progress, outcome: Outcome, *, reason: str, seconds: float, stream: TextIO
) -> list[str]:
    """The table at the end: each gate with its outcome, its time and why; then the whole."""
    lines = [""]
    for name in names:
        verdict = progress.verdicts[name]
        word = paint(f"{verdict.outcome.value:<{_WORD}}", _COLOURS.get(verdict.outcome, "red"), stream)
        why = verdict.evidence.notes[0] if name in progress.cached else verdict.reason
        room = width(stream) - _NAME - _WORD - 14
        shown = why if len(why) <= room else f"{why[: max(room - 1, 0)]}…"
        lines.append(f"{name:<{_NAME}} {word} {verdict.evidence.seconds:7.1f} s  {shown}".rstrip())
    head = f"ci: {outcome.value.upper()} in {seconds:.1f} s"
    if len(progress.cached) == len(names):
        head += ", nothing was run again (invoke ci --force runs all)"
    lines.append(paint(head, _COLOURS.get(outcome, "red"), stream))
    if reason:
        lines += [f"  {reason}", "  next: invoke ci"]
    return lines
