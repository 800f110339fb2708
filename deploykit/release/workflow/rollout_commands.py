"""`invoke rollout.pause`, `.continue`, `.promote` and `.abort`: ask the release that runs, and wait for its answer."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from deploykit.model import DeploykitError, InconclusiveError, UsageError
from deploykit.release.environment.owner import Owner, actor
from deploykit.release.environment.trust import verify_ledger
from deploykit.release.execution.under_way import UnderWay, read_under_way

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deploykit.ledger.interface import Entry, Request
    from deploykit.model import ReleaseRecord
    from deploykit.release.environment import Environment
    from deploykit.release.execution.ledger_commands import CommandName

__all__ = ["Asked", "ask_rollout"]

_WAIT_SECONDS = 20.0
_LOOK_SECONDS = 0.25
_RELEASES = frozenset({"release", "release --resume"})
"""What holds the environment's lock while a release runs; see `run.exclusive`."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request with its answer."""

    environment: str
    version: str
    request: Request

    @property
    def exit_code(self) -> int:
        return 0 if self.request.followed else 1

    @property
    def next_step(self) -> str:
        return f"invoke status --env {self.environment}"

    def as_json(self) -> dict[str, Any]:
        return {
            "outcome": "done" if self.request.followed else "failed",
            "command": self.request.name,
            "environment": self.environment,
            "release": self.request.release,
            "version": self.version,
            "number": self.request.number,
            "actor": self.request.actor,
            "reason": self.request.reason,
            "answer": self.request.answer,
            "next_step": self.next_step,
        }


def ask_rollout(
    environment: Environment,
    name: CommandName,
    reason: str = "",
    *,
    tell: Callable[[str], None] = lambda _text: None,
    wait: Callable[[float], None] = time.sleep,
    limit: float = _WAIT_SECONDS,
) -> Asked:
    """Ask the rollout that runs, and wait `limit` seconds for its answer. `tell` says what is waited for.

    Raises UsageError where no rollout runs that could follow it, DeploykitError when the release ends before it
    answers, and InconclusiveError when it has not answered in time.
    """
    verify_ledger(environment)
    under_way = _running(environment, name)
    release, ledger = under_way.release, environment.ledger
    known = ledger.end()
    request = ledger.ask(release.id, name, actor=actor(), reason=reason)
    tell(f"waiting for {release.id} to answer")
    for _ in range(max(1, round(limit / _LOOK_SECONDS))):
        # In this order: a release that ends says so before it gives its lock back.
        problem = _nobody(environment, release, name)
        entries = ledger.entries_after(*known)
        if entries:
            known = (entries[-1].sequence, entries[-1].hash)
        if (answered := _answered(entries, request)) is not None:
            return Asked(environment=environment.name, version=release.version, request=answered)
        if any(entry.kind == "release.finished" and entry.release == release.id for entry in entries):
            raise _ended(environment, release, name)
        if problem is not None:
            raise DeploykitError(
                f"{_named(release)} has not answered, and will not",
                details=[problem.message],
                next_step=problem.next_step,
            )
        wait(_LOOK_SECONDS)
    raise InconclusiveError(
        f"{release.id} has not answered within {limit:g} s: {under_way.doing}",
        details=["the request stays on the ledger; the release answers it when it judges its version the next time"],
        next_step=f"invoke history --env {environment.name}",
    )


def _running(environment: Environment, name: CommandName) -> UnderWay:
    """The rollout that is asked. Raises UsageError where there is none that could follow."""
    ledger, env = environment.ledger, environment.name
    release = ledger.unfinished()
    if release is None:
        live, newest = ledger.live(), ledger.releases(limit=1)
        is_live = f": {live.version} ({live.id}) is live" if live is not None else ""
        raise UsageError(
            f"there is no rollout to {name} in {env}{is_live}",
            details=[f"the newest, {_named(record)}, is {record.outcome.value}" for record in newest],
            next_step=_after_the_end(environment, name),
        )
    if (problem := _nobody(environment, release, name)) is not None:
        raise problem
    under_way = read_under_way(ledger, release, env)
    if under_way is None:
        raise UsageError(
            f"there is no rollout to {name} in {env} yet: {_named(release)} has not come to it",
            next_step=f"invoke status --env {env}",
        )
    if not under_way.plan.judged:
        raise UsageError(
            f"there is no rollout to {name} in {env}: {_named(release)} goes back without judging",
            next_step=f"invoke status --env {env}",
        )
    if under_way.state.undoing:
        raise UsageError(
            f"there is no rollout to {name} in {env} any more: {_named(release)} is being undone",
            details=[under_way.state.reason] if under_way.state.reason else (),
            next_step=f"invoke status --env {env}",
        )
    if under_way.state.past_verdict:
        raise UsageError(
            f"there is no rollout to {name} in {env} any more: {_named(release)} has all users",
            next_step=_after_the_end(environment, name),
        )
    return under_way


def _nobody(environment: Environment, release: ReleaseRecord, name: CommandName) -> UsageError | None:
    """What is wrong where no process is at work on the release."""
    env, holder = environment.name, environment.ledger.holder()
    owner = Owner.parse(holder.owner) if holder is not None else None
    if holder is not None and owner is not None and not owner.is_dead():
        if holder.reason in _RELEASES:
            return None
        if holder.reason == "rollback":
            return UsageError(
                f"there is no rollout to {name} in {env} any more: {owner.who}@{owner.host} rolls it back",
                next_step=f"invoke status --env {env}",
            )
    why = "its process has ended" if owner is not None and owner.is_dead() else "no process holds its lock any more"
    return UsageError(
        f"there is nobody to {name} {_named(release)} in {env}: {why}, and it is unfinished",
        next_step=f"invoke release --env {env} --resume   (finish it), or: invoke rollback --env {env}   (undo it)",
    )


def _answered(entries: Sequence[Entry], request: Request) -> Request | None:
    """The request with its answer, None where that is not among the entries."""
    for entry in entries:
        if entry.kind == "rollout.answered" and entry.payload.get("request") == request.number:
            said, followed = str(entry.payload.get("text", "")), entry.payload.get("followed") is True
            return replace(request, answer=said, answered_at=entry.at, followed=followed)
    return None


def _ended(environment: Environment, release: ReleaseRecord, name: CommandName) -> DeploykitError:
    now = environment.ledger.release(release.id) or release
    return DeploykitError(
        f"{_named(release)} ended before it could answer: it is {now.outcome.value}",
        details=[now.reason] if now.reason else (),
        next_step=_after_the_end(environment, name),
    )


def _after_the_end(environment: Environment, name: CommandName) -> str:
    """A rollback takes back what an abort came too late for. Where the newest release has no traffic, it would take
    back the one before.
    """
    live, newest = environment.ledger.live(), environment.ledger.releases(limit=1)
    too_late = name == "abort" and live is not None and newest[0].id == live.id
    return f"invoke {'rollback' if too_late else 'status'} --env {environment.name}"


def _named(release: ReleaseRecord) -> str:
    return f"{release.id} ({release.kind} of {release.version})"
