"""One criterion's evidence, and the requests that it was made of."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from deploykit.rollout.judge.evidence import Evidence

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Counts", "Tally"]

LONGEST_BLOCK = 100
"""Slots with requests of one version only, after which a comparison starts again: it was not at the same time any more.

At 5 % of the traffic the candidate has one of 20 requests, so nearly every block ends before that.
"""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Requests of both versions, and how many of them were bad: failed, or slow."""

    requests: int = 0
    bad: int = 0
    stable_requests: int = 0
    stable_bad: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            requests=self.requests + other.requests,
            bad=self.bad + other.bad,
            stable_requests=self.stable_requests + other.stable_requests,
            stable_bad=self.stable_bad + other.stable_bad,
        )


@dataclass(frozen=True, kw_only=True)
class Tally:
    """One criterion: its evidence, and what that was made of.

    `stage` counts since the stage began, `recent` since the e-value was at its `lowest`: what has spoken against the
    version since then. `block` is what a comparison waits with until both versions have answered something.
    """

    threshold: float
    evidence: Evidence = field(default_factory=Evidence)
    lowest: float = 1.0
    stage: Counts = Counts()
    recent: Counts = Counts()
    block: Counts = Counts()
    block_slots: int = 0

    @property
    def crossed(self) -> bool:
        """The evidence is enough to abort. It stays so: nothing is added after that."""
        return self.evidence.e >= self.threshold

    def against_limit(self, counts: Counts, at_most: float) -> Tally:
        """One slot, judged by the share of the candidate's requests that were bad."""
        if self.crossed:
            return self
        evidence = self.evidence
        if counts.requests:
            evidence = evidence.observe(counts.bad / counts.requests, at_most=at_most, requests=counts.requests)
        return self._with(evidence, counts)

    def against_stable(self, counts: Counts, margin: float) -> Tally:
        """One slot, judged by the share of all bad requests that the candidate has, as soon as both had requests.

        Given how many are bad, each is a coin: with equal versions it falls on the candidate with a probability of its
        share of the requests. What makes both fail changes nothing in that.
        """
        if self.crossed:
            return self
        block, slots = self.block + counts, self.block_slots + 1
        if not block.requests or not block.stable_requests:
            if slots == LONGEST_BLOCK:
                block, slots = Counts(), 0
            return replace(self, block=block, block_slots=slots)
        expected = margin * block.requests / (margin * block.requests + block.stable_requests)
        bad = block.bad + block.stable_bad
        evidence = self.evidence.observe(block.bad / bad if bad else 0.0, at_most=expected, requests=bad)
        return replace(self._with(evidence, block), block=Counts(), block_slots=0)

    def next_stage(self) -> Tally:
        """The same evidence, with counts of a new stage. A block is not kept: the shares of the traffic change."""
        return replace(self, stage=Counts(), block=Counts(), block_slots=0)

    def _with(self, evidence: Evidence, counts: Counts) -> Tally:
        stage = self.stage + counts
        if evidence.e <= self.lowest:
            return replace(self, evidence=evidence, lowest=evidence.e, stage=stage, recent=Counts())
        return replace(self, evidence=evidence, stage=stage, recent=self.recent + counts)

    def as_json(self) -> dict[str, Any]:
        return {
            "threshold": self.threshold,
            "evidence": self.evidence.as_json(),
            "lowest": self.lowest,
            "stage": asdict(self.stage),
            "recent": asdict(self.recent),
            "block": asdict(self.block),
            "block_slots": self.block_slots,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Tally:
        return cls(
            threshold=data["threshold"],
            lowest=data["lowest"],
            block_slots=data["block_slots"],
            evidence=Evidence.from_json(data["evidence"]),
            **{name: Counts(**data[name]) for name in ("stage", "recent", "block")},
        )
