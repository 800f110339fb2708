"""A release: one version of one app put into one environment, and the labels that what runs carries."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass

__all__ = ["Labels", "ReleaseOutcome", "ReleaseRecord"]


class ReleaseOutcome(enum.Enum):
    """`RUNNING` is a release that has not ended (or whose process was killed: see `release --resume`)."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    ROLLED_BACK = "rolled back"
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What every running instance carries, so that the truth can be read back from the target alone.

    `release` is the ledger's id of the release (`r7`), `digest` the artefact's content digest (`sha256:…`),
    `anchor` the head of the ledger's hash chain when the instance was started.
    """

    app: str
    environment: str
    release: str
    version: str
    digest: str
    anchor: str = ""

    def as_json(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class ReleaseRecord:
    """One row of the history. Times are seconds since the epoch, UTC; `finished_at` is None while it runs."""

    id: str
    app: str
    environment: str
    version: str
    digest: str
    commit: str
    tree: str
    actor: str
    kind: str  # "release" or "rollback"
    previous: str  # id of the release that was live before, or ""
    outcome: ReleaseOutcome
    reason: str
    started_at: float
    finished_at: float | None
