"""Acknowledged findings, with reasons: `# deploykit: allow RULE because …` in a revision, or a setting."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deploykit.schema.lint.finding import Finding
from deploykit.schema.lint.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Allowance", "Remarks", "read_remarks", "sort_out"]

_ALLOW = re.compile(
    r"^\s*(?:#|--)\s*deploykit:\s*allow\b[ \t]*(?P<rules>[\w/, -]*?)(?:\s+because\b(?P<reason>.*))?\s*$"
)
_PHASE = re.compile(r"^\s*(?:#|--)\s*deploykit:\s*phase\s+(expand|contract)\s*$", re.MULTILINE)
_NEVER = frozenset({"acknowledgement-without-reason", "acknowledgement-of-no-rule"})


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """One acknowledgement; an empty `revision` means every revision. Settings without a reason are refused."""

    rule: str
    reason: str
    revision: str = ""


@dataclass(frozen=True, kw_only=True)
class Remarks:
    """The kit's comments in one file."""

    allowed: tuple[Allowance, ...] = ()
    refused: tuple[Finding, ...] = ()
    phase: str = ""
    settings: frozenset[str] = field(default_factory=frozenset)


def read_remarks(text: str, *, path: str, revision: str) -> Remarks:
    """Read the acknowledgements of a text. One without a reason, or of an unknown rule, is a finding."""
    if "deploykit:" not in text:
        return Remarks()
    allowed, refused = [], []
    for number, line in enumerate(text.splitlines(), 1):
        match = _ALLOW.match(line)
        if match is None:
            continue
        names = [name for name in re.split(r"[\s,]+", match["rules"]) if name]
        reason = (match["reason"] or "").strip(" .:-…")
        for name in names or [""]:
            rule = ""
            if not _is_rule(name):
                close = difflib.get_close_matches(name, RULES, 1)
                rule, message = (
                    "acknowledgement-of-no-rule",
                    f"there is no rule {name!r}" + (f", did you mean {close[0]}?" if close else ""),
                )
            elif not reason:
                rule, message = (
                    "acknowledgement-without-reason",
                    f"{name} is acknowledged without a reason, which counts for nothing",
                )
            if rule:
                refused.append(Finding(rule=rule, message=message, revision=revision, path=path, line=number))
            else:
                allowed.append(Allowance(rule=name, reason=reason, revision=revision))
    phases = _PHASE.findall(text)
    return Remarks(allowed=tuple(allowed), refused=tuple(refused), phase=phases[-1] if phases else "")


def _is_rule(name: str) -> bool:
    return (name in RULES and name not in _NEVER) or bool(re.fullmatch(r"squawk/[\w-]+", name))


def sort_out(
    found: Sequence[Finding], allowances: Sequence[Allowance]
) -> tuple[list[Finding], list[tuple[Finding, str]]]:
    """Return the findings that count, and the acknowledged ones, each with its reason."""
    counts, acknowledged = [], []
    for item in found:
        reason = next(_reasons(item, allowances), "")
        if reason and item.rule not in _NEVER:
            acknowledged.append((item, reason))
        else:
            counts.append(item)
    return counts, acknowledged


def _reasons(item: Finding, allowances: Sequence[Allowance]) -> Iterator[str]:
    return (one.reason for one in allowances if one.rule == item.rule and one.revision in {"", item.revision})
