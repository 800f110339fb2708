"""What a gate answers: an outcome, the evidence for it, and what was found."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Evidence", "Finding", "Outcome", "Severity", "Verdict"]


class Outcome(enum.Enum):
    """The four outcomes of a gate. Only `PASSED` is green."""

    PASSED = "passed"
    FINDINGS = "findings"
    INCONCLUSIVE = "inconclusive"
    USAGE = "usage error"

    @property
    def exit_code(self) -> int:
        return {Outcome.PASSED: 0, Outcome.FINDINGS: 1, Outcome.INCONCLUSIVE: 2, Outcome.USAGE: 3}[self]

    @classmethod
    def worst(cls, outcomes: list[Outcome]) -> Outcome:
        """The outcome of several gates together: a usage error hides nothing, findings outweigh doubt.

        No outcome at all is inconclusive: nothing was looked at.
        """
        for outcome in (cls.USAGE, cls.FINDINGS, cls.INCONCLUSIVE):
            if outcome in outcomes:
                return outcome
        return cls.PASSED if outcomes else cls.INCONCLUSIVE


class Severity(enum.Enum):
    LOW = "low"
    MODERATE = "moderate"
    HIGH = "high"
    CRITICAL = "critical"
    UNKNOWN = "unknown"

    def reaches(self, threshold: Severity) -> bool:
        """Whether it is as bad as the threshold, or worse. What is not known counts as bad enough."""
        order = (Severity.LOW, Severity.MODERATE, Severity.HIGH, Severity.CRITICAL)
        return self is Severity.UNKNOWN or order.index(self) >= order.index(threshold)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong. `path` is relative to the tree and empty where there is none; `line` 0 means none."""

    rule: str
    message: str
    path: str = ""
    line: int = 0
    severity: Severity = Severity.UNKNOWN
    fix: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"severity": self.severity.value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Finding:
        return cls(**{**data, "severity": Severity(data["severity"])})


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was looked at. `looked_at` counts `unit`s (files, packages, tests); 0 can never support a pass."""

    looked_at: int
    unit: str
    tool: str
    tool_version: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"settings": dict(self.settings), "notes": list(self.notes)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Evidence:
        return cls(**{**data, "notes": tuple(data["notes"])})


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer of one gate about one tree. `tree` is the git tree hash it is bound to, empty outside git.

    Raises ValueError when built as a pass without evidence: a green has to mean green.
    """

    gate: str
    outcome: Outcome
    evidence: Evidence
    findings: tuple[Finding, ...] = ()
    reason: str = ""
    next_step: str = ""
    tree: str = ""

    def __post_init__(self) -> None:
        if self.outcome is Outcome.PASSED and self.evidence.looked_at <= 0:
            raise ValueError(f"gate {self.gate}: a pass needs evidence, and nothing was looked at")
        if self.outcome is Outcome.FINDINGS and not self.findings:
            raise ValueError(f"gate {self.gate}: findings were announced, and none is listed")

    def as_json(self) -> dict[str, Any]:
        """One object as `invoke gate NAME --json` prints it."""
        return {
            "gate": self.gate,
            "outcome": self.outcome.value,
            "evidence": self.evidence.as_json(),
            "findings": [finding.as_json() for finding in self.findings],
            "reason": self.reason,
            "next_step": self.next_step,
            "tree": self.tree,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        return cls(
            gate=data["gate"],
            outcome=Outcome(data["outcome"]),
            evidence=Evidence.from_json(data["evidence"]),
            findings=tuple(Finding.from_json(finding) for finding in data["findings"]),
            reason=data["reason"],
            next_step=data["next_step"],
            tree=data["tree"],
        )
