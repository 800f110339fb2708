"""What a person does with what runs: read its logs, run a command beside it, lock it, end it."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from deploykit.credentials import Redactor
from deploykit.ledger.interface import Held, LockHeld
from deploykit.model import DeploykitError, Secret, UsageError
from deploykit.release.adopting import Adopted, adopt
from deploykit.release.build import load_artifact
from deploykit.release.instances import one_off
from deploykit.release.locking import environment_lock
from deploykit.release.owner import Owner, actor
from deploykit.release.targets_of_rollback import spec_of
from deploykit.release.values import database_values, read_values, secrets_in
from deploykit.release.warm import Reaped, prune, reap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from deploykit.release.surroundings import Surroundings
    from deploykit.targets.interface import OneOffResult

__all__ = [
    "adopt_now",
    "follow_logs",
    "lock_environment",
    "read_logs",
    "reap_now",
    "run_in_live",
    "take_down",
    "unlock_environment",
]


def read_logs(around: Surroundings, lines: int, process: str = "") -> list[tuple[str, str]]:
    """(instance, line): the last lines of each instance of the live version, or of all where none is live; `process`: only
    of those.
    """
    redact = _redactor(around)
    return [(name, redact(line)) for name in _shown(around, process) for line in around.target.logs(name, lines=lines)]


def follow_logs(around: Surroundings, process: str = "") -> Iterator[tuple[str, str]]:
    redact = _redactor(around)
    return ((name, redact(line)) for name, line in around.target.follow(_shown(around, process)))


def _redactor(around: Surroundings) -> Redactor:
    """Masks the values of every version that runs: applications print what they should not."""
    releases = {instance.labels.release for instance in around.target.instances()}
    values: list[Mapping[str, str | Secret]] = [
        read_values(around.values_folder, release) for release in sorted(releases)
    ]
    if not all(values) and around.loaded is not None:
        values.append(_present_values(around))  # released from another machine, or what was kept here is lost
    return Redactor([secret for found in values for secret in secrets_in(found)])


def _present_values(around: Surroundings) -> Mapping[str, str | Secret]:
    """What a version would get now, which is mostly what those that run have."""
    from deploykit.release.gathering import gather_values

    live = around.ledger.live()
    if live is None:
        return {}
    try:
        return gather_values(around, spec_of(around.ledger, live, around.name), make=False)[0]
    except DeploykitError:
        return {}  # a value that is missing can't be masked, and is no reason to show no logs


def _shown(around: Surroundings, process: str) -> list[str]:
    live = around.ledger.live()
    instances = around.target.instances()
    if process and process not in (known := {item.process for item in instances}):
        raise UsageError(
            f"no process {process!r} runs in {around.name}",
            details=[f"there are: {', '.join(sorted(known)) or 'none'}"],
            next_step=f"invoke status --env {around.name}",
        )
    instances = [item for item in instances if process in {"", item.process}]
    names = [item.name for item in instances if live is not None and item.labels.release == live.id]
    names = names or [item.name for item in instances]
    if not names:
        raise DeploykitError(
            f"nothing runs in {around.name}, so there are no logs", next_step=f"invoke release --env {around.name}"
        )
    return names


def run_in_live(around: Surroundings, argv: Sequence[str]) -> OneOffResult:
    """Run a command in the live version's environment, with its variables, from its sources. Secrets in what it prints
    are masked.
    """
    live = around.ledger.live()
    if live is None:
        raise UsageError(f"nothing is live in {around.name}", next_step=f"invoke release --env {around.name}")
    spec = spec_of(around.ledger, live, around.name)
    artifact = load_artifact(around, live.digest)
    values = {**read_values(around.values_folder, live.id), **database_values(around, spec)}
    redact = Redactor(secrets_in(values))
    result = around.target.run(one_off(spec, live.id, artifact, values, argv, timeout=3_600.0))
    return replace(result, output=tuple(redact(line) for line in result.output))


def reap_now(around: Surroundings) -> Reaped:
    """Do what is due, under the lock; somebody who holds it does it themselves."""
    try:
        with environment_lock(around.ledger, around.target, "reap", tell=lambda _text: None, lost=lambda _error: None):
            due, old = reap(around), prune(around)
            return Reaped(done=due.done + old.done, problems=due.problems + old.problems)
    except LockHeld as held:
        return Reaped(problems=(f"{held.message} What is due is done by whoever holds it.",))


def adopt_now(around: Surroundings) -> Adopted:
    """Make a lost record anew from what runs. Nothing that runs is touched. Raises as `adopting.adopt` does."""
    lock = environment_lock(
        around.ledger, around.target, "ledger.adopt", tell=lambda _text: None, lost=lambda _error: None
    )
    with lock as held:
        return adopt(around, token=held.token)


def take_down(around: Surroundings) -> list[str]:
    """End what runs; returns what was done, one sentence each."""
    told: list[str] = []
    with environment_lock(around.ledger, around.target, "down", tell=told.append, lost=lambda _error: None):
        instances = around.target.instances()
        running = around.edge.running()
        around.edge.down()  # one that does not answer may still hold the port: a killed command leaves it so
        if running:
            with contextlib.suppress(DeploykitError):
                # A configuration that can't be read must not keep anything from being ended.
                around.edge.clear()
            told.append("the edge was stopped")
        for instance in instances:
            around.target.stop(instance.name, timeout=10.0)
            told.append(f"{instance.name} ({instance.labels.version}) was stopped")
        for timer in around.ledger.timers():
            if timer.kind == "warm":
                around.ledger.remove_timer(timer.id)
        around.target.down()
        if around.place.kind == "process":
            told.append("the supervisor, and what else it ran, was ended")
    return told


def lock_environment(around: Surroundings, reason: str, hours: float) -> Held:
    """A lock without a process behind it: it ends by `invoke unlock`, or after `hours`."""
    if not 0 < hours <= 24 * 30:
        raise UsageError("a lock lasts more than 0 and at most 720 hours", next_step="add --hours 8")
    return around.ledger.acquire(f"{actor()} (by hand)", reason, lease=hours * 3_600.0)


def unlock_environment(around: Surroundings, reason: str, *, force: bool) -> str:
    """Take the lock away, on the record. One whose process still works only when `force`."""
    holder = around.ledger.holder()
    if holder is None:
        return f"{around.name} is not locked"
    owner = Owner.parse(holder.owner)
    if owner is not None and not owner.is_dead() and holder.expires_at > time.time() and not force:
        raise UsageError(
            f"{holder.owner} is at work: {holder.reason}",
            next_step=f"wait; or, knowing that it must stop: invoke unlock --env {around.name} --force",
        )
    around.ledger.break_lock(str(Owner.me()), reason)
    if (on_target := around.target.lock_holder()) is not None:
        around.target.unlock(on_target.owner, token=on_target.token)
    return f"{around.name} is free again; it was held by {holder.owner}: {holder.reason}"
