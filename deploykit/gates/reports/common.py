"""What all the formats share: which findings fail the gate, where a finding is, and a name for it that lasts."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

from deploykit.model import Finding, Outcome, Severity, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["FAILS_FROM", "WHOLE_PROJECT", "failing", "fingerprints", "place", "was_judged"]

FAILS_FROM = "fails_from"
"""The setting in a verdict's evidence that names the lowest severity which fails its gate."""
WHOLE_PROJECT = "pyproject.toml"
"""Where a finding about the whole project is shown: GitHub refuses a whole report for one result without a place."""


def was_judged(verdict: Verdict) -> bool:
    """Whether the gate looked and answered; else its findings are no list of all that there is."""
    return verdict.outcome in {Outcome.PASSED, Outcome.FINDINGS}


def failing(verdict: Verdict) -> tuple[Finding, ...]:
    """The findings that fail the gate: none of a pass, and those below its threshold only when there is nothing else.

    The threshold is what the evidence says (`FAILS_FROM`), else moderate.
    """
    if verdict.outcome is Outcome.PASSED:
        return ()
    threshold = Severity(verdict.evidence.settings.get(FAILS_FROM, Severity.MODERATE.value))
    above = tuple(finding for finding in verdict.findings if finding.severity.reaches(threshold))
    return above or verdict.findings


def place(finding: Finding) -> tuple[str, int]:
    """Path and line, of which the line is at least 1."""
    return finding.path or WHOLE_PROJECT, max(finding.line, 1)


def fingerprints(gate: str, findings: Sequence[Finding]) -> list[str]:
    """One name for each finding that outlives a shift of its line: of gate, rule, path, message, and
    which of the like.
    """
    seen: Counter[tuple[str, str, str]] = Counter()
    names = []
    for finding in findings:
        key = (finding.rule, finding.path, finding.message)
        names.append(hashlib.sha256("\0".join((gate, *key, str(seen[key]))).encode()).hexdigest())
        seen[key] += 1
    return names
