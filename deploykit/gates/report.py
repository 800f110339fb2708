"""A verdict as a terminal shows it: short, grouped by file, ending with the next command."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from deploykit.gates.interface import WORK_FOLDER
from deploykit.model import Finding, Outcome, Severity, Verdict
from deploykit.model.printable import painted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


__all__ = ["render", "summary_line", "wants_color"]

_SHOWN = 25
_COLORS = {Outcome.PASSED: "32", Outcome.FINDINGS: "31", Outcome.INCONCLUSIVE: "33", Outcome.USAGE: "31"}


def wants_color(environment: Mapping[str, str], *, is_terminal: bool) -> bool:
    """`NO_COLOR` (set to anything) forbids, `FORCE_COLOR` demands, else a terminal decides."""
    if environment.get("NO_COLOR"):
        return False
    return bool(environment.get("FORCE_COLOR")) or (is_terminal and environment.get("TERM") != "dumb")


def summary_line(verdict: Verdict) -> str:
    """One line: the gate, its outcome in words, and why."""
    word = verdict.outcome.value.upper()
    return f"{verdict.gate}: {word}: {verdict.reason}" if verdict.reason else f"{verdict.gate}: {word}"


def render(verdict: Verdict, *, color: bool = False, width: int = 80, findings: bool = True) -> list[str]:
    """What a terminal shows of the verdict, each line for `model.printable.printed`.

    `findings` False leaves them out, for a combined verdict whose parts have just been shown.
    """
    return list(_lines(verdict, color=color, width=max(width, 30), findings=findings))


def _lines(verdict: Verdict, *, color: bool, width: int, findings: bool) -> Iterator[str]:
    evidence = verdict.evidence
    word = verdict.outcome.value.upper()
    if color:
        word = painted(word, f"1;{_COLORS[verdict.outcome]}")
    yield f"{verdict.gate}: {word} ({evidence.seconds:.1f} s)"
    if verdict.reason:
        yield from _wrapped(verdict.reason, "  ", width)
    tool = f"{evidence.tool} {evidence.tool_version}".strip()
    seen = f"looked at {evidence.looked_at} {evidence.unit} with {tool}" if evidence.tool else "nothing was looked at"
    if verdict.tree:
        seen += f", tree {verdict.tree[:12]}"
    yield from _wrapped(seen, "  ", width)
    if evidence.settings:
        yield from _wrapped("settings: " + ", ".join(f"{k}={v}" for k, v in evidence.settings.items()), "  ", width)
    for note in evidence.notes:
        if note.startswith("| "):  # a tool's own line: as it is
            yield "  " + note[: width * 2]
        else:
            yield from _wrapped(note, "  - ", width)
    if verdict.findings and verdict.outcome is Outcome.PASSED:
        yield f"  listed in {_file(verdict)}: {len(verdict.findings)}"
    elif findings:
        yield from _findings(verdict, width)
    if verdict.next_step and verdict.outcome is not Outcome.PASSED:
        yield from _wrapped(f"next: {verdict.next_step}", "  ", width)


def _findings(verdict: Verdict, width: int) -> Iterator[str]:
    path: str | None = None
    for finding in verdict.findings[:_SHOWN]:
        if finding.path != path:
            path = finding.path
            if path:
                yield f"  {path}"
        yield from _wrapped(_finding(finding), "    ", width)
        if finding.fix:
            yield from _wrapped(f"fix: {finding.fix}", "      ", width)
    if len(verdict.findings) > _SHOWN:
        more = len(verdict.findings) - _SHOWN
        yield f"  … and {more} more: {_file(verdict)}"


def _file(verdict: Verdict) -> str:
    return f"{WORK_FOLDER}/verdicts/{verdict.gate}.json"


def _finding(finding: Finding) -> str:
    place = f"{finding.line}: " if finding.line else ""
    severity = "" if finding.severity is Severity.UNKNOWN else f" [{finding.severity.value}]"
    return f"{place}{finding.rule}{severity} {finding.message}"


def _wrapped(text: str, indent: str, width: int) -> list[str]:
    lines: list[str] = []
    for part in text.splitlines() or [""]:
        lines += textwrap.wrap(
            part,
            width,
            initial_indent=indent,
            subsequent_indent=" " * len(indent),
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines
