"""What `invoke status` says of a rollout that has begun and not ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.release.execution.under_way import read_under_way
from deploykit.release.reporting.text import ago, clock
from deploykit.rollout.shares import share_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deploykit.ledger.interface import Held, Request
    from deploykit.model import ReleaseRecord
    from deploykit.release.environment import Environment

__all__ = ["RolloutStatus", "next_commands", "read_rollout", "rollout_rows"]


@dataclass(frozen=True, kw_only=True)
class RolloutStatus:
    """Shares are per cent of the traffic: what the stage wants, and what the weights at the edge come to (None: it does
    not run). Times are seconds since the epoch. `undecided` is what the judge waits for; `confirm`: after the stage a
    person has to say that it goes on. `over` is the version that the lease gives the traffic back to; `lease_ended_at`
    None: it has not.
    """

    release: str
    version: str
    over: str
    stage: int
    stages: int
    share: float
    share_read_back: float | None
    since: float
    doing: str
    undoing: bool
    undecided: str
    confirm: bool
    paused_by: str
    lease_ends_at: float | None
    lease_ended_at: float | None


def read_rollout(
    environment: Environment,
    release: ReleaseRecord,
    weights: Mapping[str, int] | None,
    holder: Held | None,
    *,
    at_work: bool,
) -> RolloutStatus | None:
    """None before the rollout began. `weights` are read from the edge. `at_work`: the process of `holder` runs. Raises
    DeploykitError where the journal can't be read.
    """
    under_way = read_under_way(environment.ledger, release, environment.name)
    if under_way is None:
        return None
    lease = environment.edge.lease()
    live = environment.ledger.live()
    undoing = under_way.state.undoing
    return RolloutStatus(
        release=release.id,
        version=release.version,
        over=f"{live.version} ({live.id})" if live is not None else "",
        stage=under_way.number,
        stages=len(under_way.plan.stages),
        share=0.0 if undoing else under_way.stage.share,
        share_read_back=None if weights is None else share_of(under_way.plan.candidate, weights),
        since=under_way.since,
        doing=under_way.doing if at_work else "nobody is at work on it",
        undoing=undoing,
        undecided=under_way.undecided,
        confirm=under_way.stage.confirm,
        paused_by="" if undoing else _paused_by(environment.ledger.requests(release=release.id), holder),
        lease_ends_at=lease.ends_at if lease is not None and lease.ended_at is None else None,
        lease_ended_at=lease.ended_at if lease is not None else None,
    )


def _paused_by(requests: Sequence[Request], holder: Held | None) -> str:
    """Who paused the process that holds the lock; an earlier one's pause ended with it."""
    for request in requests:
        if holder is not None and request.followed and request.number > holder.token and request.name != "abort":
            return request.actor if request.name == "pause" else ""
    return ""


def rollout_rows(rollout: RolloutStatus, now: float) -> list[tuple[str, str]]:
    """Names and sentences of the rows."""
    read_back = "" if rollout.share_read_back is None else f", {rollout.share_read_back:.3g} % read back"
    stage = f"stage {rollout.stage} of {rollout.stages}, " if rollout.stages > 1 else ""
    since = f"for {ago(now - rollout.since, suffix='')}"
    rows = [("rollout", f"{stage}{rollout.share:g} % wanted{read_back}, {since}; {rollout.doing}")]
    if rollout.undecided:
        rows.append(("undecided", rollout.undecided))
    if rollout.paused_by:
        rows.append(("paused", f"by {rollout.paused_by}"))
    if rollout.lease_ended_at is not None:
        rows.append(
            ("lease", f"ended at {clock(rollout.lease_ended_at)}: {rollout.over or 'the old one'} has the traffic back")
        )
    elif rollout.lease_ends_at is not None:
        left = max(rollout.lease_ends_at - now, 0.0)
        rows.append(("lease", f"ends in {ago(left, suffix='')} unless the release renews it"))
    return rows


def next_commands(rollout: RolloutStatus, env: str) -> list[str]:
    """What a person can do about a rollout whose release is at work; `env` is `--env NAME`."""
    if rollout.undoing:
        return []
    abort = f"invoke rollout.abort {env}   (give the traffic back)"
    if rollout.paused_by:
        return [f"invoke rollout.continue {env}   (go on)", abort]
    if rollout.undecided:
        return [f"invoke rollout.promote {env}   (go on)", abort]
    if rollout.confirm:
        return [f"invoke rollout.continue {env}   (confirm it, once it waits)", abort]
    return [abort] if rollout.stages > 1 else []
