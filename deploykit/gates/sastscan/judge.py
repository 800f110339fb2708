"""The verdict of the sast gate: what both tools found, once each, and whether every file was looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Any

from deploykit.gates.sastscan.rules import FAILING, Found
from deploykit.model import Evidence, Finding, Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["TEST_GLOBS", "Rules", "ScannedFiles", "concluded", "in_tests", "merge", "verdict_on"]


TEST_GLOBS = (
    "**/test_*.py",
    "**/*_test.py",
    "**/conftest.py",
    "**/tests.py",
    "**/test/**",
    "**/tests/**",
)
"""Files whose asserts are not looked at, as ruff reads globs."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Which rules the repo's configuration wants: `tests` (all when empty) without `skips`."""

    tests: frozenset[str] = frozenset()
    skips: frozenset[str] = frozenset()
    assert_skips: tuple[str, ...] = ()

    def want(self, found: Found) -> bool:
        if found.rule == "B101" and any(fnmatchcase(f"./{found.path}", glob) for glob in self.assert_skips):
            return False
        return found.rule not in self.skips and (not self.tests or found.rule in self.tests)


@dataclass(frozen=True, kw_only=True)
class ScannedFiles:
    """What was looked at: files `judged`, those the configuration left out, and those of which nothing can be said."""

    judged: frozenset[str]
    left_out: frozenset[str] = frozenset()
    errors: Mapping[str, str] = field(default_factory=dict)
    missed: tuple[str, ...] = ()
    lines: int = 0


@cache
def in_tests(path: str) -> bool:
    """Whether a file is a test by pytest's conventions, where an assert is the point."""
    return any(fnmatchcase(f"/{path}", glob.replace("**", "*")) for glob in TEST_GLOBS)


def merge(by_ruff: Iterable[Found], by_bandit: Iterable[Found], hidden: Iterable[Found]) -> tuple[list[Found], int]:
    """One finding for each file, line and rule, in bandit's words where it has them; and how many `# nosec` hides.

    A finding of ruff is hidden with the one of bandit's that has the same rule and reaches over its line.
    """
    merged = {(found.path, found.line, found.rule): found for found in by_bandit}
    alike, shadows = _by_rule(merged.values()), _by_rule(hidden)
    for found in by_ruff:
        key = (found.path, found.rule)
        if any(shadow.first <= found.line <= shadow.last for shadow in shadows.get(key, ())):
            continue
        if any(_same(found, other) for other in alike.get(key, ())):
            continue
        merged.setdefault((found.path, found.line, found.rule), found)
    places = {(found.line, *key) for key, group in shadows.items() for found in group}
    return list(merged.values()), len(places)


def _by_rule(found: Iterable[Found]) -> dict[tuple[str, str], list[Found]]:
    groups: dict[tuple[str, str], list[Found]] = {}
    for item in found:
        groups.setdefault((item.path, item.rule), []).append(item)
    return groups


def _same(found: Found, other: Found) -> bool:
    """One thing that ruff and bandit place at different lines of the same expression."""
    return (
        found.rule == other.rule and found.first <= other.line <= found.last and other.first <= found.line <= other.last
    )


def verdict_on(
    found: Sequence[Found],
    looked: ScannedFiles,
    *,
    version: str,
    settings: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> Verdict:
    """The verdict: medium severity and above fail; a file that could not be looked at makes a clean result
    inconclusive.
    """
    findings = sorted(
        (_finding(item) for item in found),
        key=lambda finding: (finding.severity not in FAILING, finding.path, finding.line, finding.rule),
    )
    errors = looked.errors
    evidence = Evidence(
        looked_at=len(looked.judged),
        unit="files",
        tool="ruff and bandit",
        tool_version=version,
        settings=settings,
        notes=(
            f"lines of code: {looked.lines}",
            *notes,
            *((f"files left out by bandit's own configuration: {len(looked.left_out)}",) if looked.left_out else ()),
            *(f"{name}: {reason}" for name, reason in sorted(errors.items())[:10]),
        ),
    )
    missed = (
        f"{len(looked.missed)} files were not looked at: {', '.join(looked.missed[:5])}",
        "run `ruff check --isolated --show-files` on one of them",
    )
    return concluded(findings, evidence, unreadable=len(errors), missed=missed if looked.missed else None)


def concluded(
    findings: Sequence[Finding], evidence: Evidence, *, unreadable: int, missed: tuple[str, str] | None
) -> Verdict:
    """The verdict on all findings. `missed`: that files were not looked at, and what to do about it."""
    failing = [finding for finding in findings if finding.severity in FAILING]
    low = len(findings) - len(failing)
    if failing:
        outcome, reason = Outcome.FINDINGS, f"{len(failing)} findings of medium severity or above"
        next_step = "fix them, or mark a line that is right with `# nosec RULE` and the reason"
    elif unreadable:
        outcome, reason = Outcome.INCONCLUSIVE, f"{unreadable} files could not be read or parsed"
        next_step = "fix these files, or name them in security.sast_exclude"
    elif missed:
        outcome, (reason, next_step) = Outcome.INCONCLUSIVE, missed
    elif not evidence.looked_at:
        outcome, reason = Outcome.INCONCLUSIVE, "there was no Python file to look at"
        next_step = "check the folder, and security.sast_exclude in [tool.deploykit]"
    else:
        outcome, reason, next_step = Outcome.PASSED, "", ""
    if low:
        reason = "; ".join(filter(None, [reason, f"{low} of low severity are listed and fail nothing"]))
    return Verdict(
        gate="sast", outcome=outcome, evidence=evidence, findings=tuple(findings), reason=reason, next_step=next_step
    )


def _finding(found: Found) -> Finding:
    return Finding(
        rule=found.rule,
        message=f"{found.message} (confidence: {found.confidence.lower()})",
        path=found.path,
        line=found.line,
        severity=found.severity,
    )
