"""What the benchmarks share: whole processes timed from outside, series that are interleaved, and how figures are
shown.

Wall time is what a user waits, CPU time (user and system, with ended children) what a busy machine does not change
much.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = ["Figure", "Ran", "Section", "environment", "interleaved", "machine", "markdown", "ran", "table", "timed"]

_BENT = ("DEPLOYKIT_", "NOX_", "COV_", "COVERAGE_")
_DROPPED = frozenset({"PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "FORCE_COLOR", "VIRTUAL_ENV"})
"""Without bytecode every start compiles all there is: three times as slow, and nothing a user would see twice."""
_LIMIT = 240.0


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A process that ended: seconds from its start to its end, seconds of CPU, what it printed, its exit code."""

    wall: float
    cpu: float
    output: str
    code: int = 0


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Samples of one thing. `unit` is "s", "ms", "x" (a ratio) or "" (a count). `bound`: the median may be no more."""

    name: str
    unit: str
    samples: Sequence[float]
    bound: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def holds(self) -> bool:
        return self.bound is None or self.median <= self.bound

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "median": round(self.median, 4),
            "min": round(min(self.samples), 4),
            "max": round(max(self.samples), 4),
            "samples": [round(sample, 4) for sample in self.samples],
            "bound": self.bound,
        }


@dataclass(frozen=True, kw_only=True)
class Section:
    """The figures of one benchmark, and sentences that belong to them.

    `lines` are a table of another form, at most 78 columns wide, and `rows` the same as JSON objects.
    """

    title: str
    figures: Sequence[Figure]
    notes: Sequence[str] = ()
    lines: Sequence[str] = ()
    rows: Sequence[Mapping[str, Any]] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "figures": [figure.as_json() for figure in self.figures],
            "notes": list(self.notes),
            **({"rows": [dict(row) for row in self.rows]} if self.rows else {}),
        }


def environment(**extra: str) -> dict[str, str]:
    """The variables of a measured process: this one's, less what would bend it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_BENT) and name not in _DROPPED}
    return {**kept, "NO_COLOR": "1", **extra}


def ran(argv: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None, code: int | None = 0) -> Ran:
    """Run it to its end. Raises RuntimeError with its last words when its exit code is not `code` (None: any)."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.monotonic()
        process = subprocess.Popen(
            argv, cwd=cwd, env=env or environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
        usage = _waited(process, began)
        wall = time.monotonic() - began
        out.seek(0)
        err.seek(0)
        output = out.read().decode(errors="replace")
        if code is not None and process.returncode != code:
            words = (output + err.read().decode(errors="replace")).splitlines()[-25:]
            command = " ".join(str(word) for word in argv[1:])
            raise RuntimeError("\n".join([f"exit code {process.returncode}: {command}", *words]))
    return Ran(wall=wall, cpu=usage, output=output, code=process.returncode)


def _waited(process: subprocess.Popen[bytes], began: float) -> float:
    """Wait for the end of a process; its CPU seconds, which only `wait4` tells for one child alone."""
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_utime + usage.ru_stime
        if time.monotonic() - began > _LIMIT:
            process.kill()
            process.wait()
            raise RuntimeError(f"it did not end within {_LIMIT:g} s")
        time.sleep(0.001)


def interleaved(
    one: Callable[[], Ran], other: Callable[[], Ran], *, series: int, runs: int
) -> list[tuple[list[Ran], list[Ran]]]:
    """So many series of so many runs of both, each time one after the other, so that what disturbs one disturbs
    both.
    """
    one(), other()  # once without being counted: bytecode is written, files are in memory
    found = []
    for _ in range(series):
        pairs = [(one(), other()) for _ in range(runs)]
        found.append(([first for first, _ in pairs], [second for _, second in pairs]))
    return found


def timed(name: str, seconds: Sequence[float], *, bound: float | None = None) -> Figure:
    return Figure(name=name, unit="s", samples=tuple(seconds), bound=bound)


def machine() -> dict[str, str]:
    """What the figures depend on, and nothing that names this machine."""
    system = "macOS" if platform.system() == "Darwin" else platform.system()
    return {
        "cores": str(os.cpu_count()),
        "system": system,
        "python": platform.python_version(),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def table(section: Section) -> list[str]:
    """The section for a terminal."""
    rows = [("", "median", "min", "max", "at most"), *(_row(figure) for figure in section.figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(row[column].rjust(widths[column]) for column in range(1, 5))]).rstrip()
        for row in rows
    ]
    more = [*(f"  {line}".rstrip() for line in section.lines), ""] if section.lines else []
    return [section.title, "", *more, *(f"  {line}" for line in lines), *(f"  {note}" for note in section.notes), ""]


def markdown(sections: Sequence[Section], about: Mapping[str, str]) -> str:
    """The page that the README quotes."""
    written = (
        f"Written by `nox -s bench -- --write` on {about['date']}: {about['cores']} cores, {about['system']}, "
        f"Python {about['python']}, load average {about['load']} at the end."
    )
    lines = [
        "# Figures",
        "",
        written,
        "What is measured, and how, stands in [docs/performance.md](../docs/performance.md).",
        "",
    ]
    for section in sections:
        lines += [f"## {section.title}", "", "| | median | min | max | at most |", "|---|--:|--:|--:|--:|"]
        lines += [f"| {' | '.join(_row(figure))} |" for figure in section.figures]
        lines += ["", *(f"- {note}" for note in section.notes), *([""] if section.notes else [])]
    return "\n".join(lines).rstrip() + "\n"


def _row(figure: Figure) -> tuple[str, str, str, str, str]:
    values = [_shown(value, figure.unit) for value in (figure.median, min(figure.samples), max(figure.samples))]
    bound = "" if figure.bound is None else _shown(figure.bound, figure.unit) + ("" if figure.holds else " !")
    return figure.name, values[0], values[1], values[2], bound


def _shown(value: float, unit: str) -> str:
    match unit:
        case "s":
            return f"{value:.2f} s"
        case "ms":
            return f"{value:.0f} ms"
        case "x":
            return f"{value:.2f} x"
        case _:
            return f"{value:,.0f}"
