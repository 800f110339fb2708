"""What `invoke status` prints for people."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

from deploykit.release.queries.rollout_status import rollout_rows
from deploykit.release.queries.status import next_steps
from deploykit.release.reporting.text import ago, columns, filled, width
from deploykit.targets.interface import InstanceState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploykit.release.queries.status import InstanceStatus, Status

__all__ = ["status_lines"]

_INSTANCES = ("INSTANCE", "VERSION", "ROLE", "STATE", "ADDRESS", "WEIGHT", "RESTARTS")
_ACCESSORIES = ("ACCESSORY", "IMAGE", "STATE", "RESTARTS")


def status_lines(status: Status, stream: TextIO) -> list[str]:
    def put(text: str, first: str) -> list[str]:
        return filled(text, width(stream), first=first, rest=" " * len(first))

    lines = [f"{status.app} in {status.environment}"]
    for name, text in _facts(status, time.time()):
        lines += put(text, f"  {name:<11} ")
    if rows := [_row(item) for item in status.instances]:
        lines += ["", *columns(_INSTANCES, rows, stream)]
    if status.accessories:
        names = ("name", "image", "state", "restarts")
        accessories = [[str(each[name]) for name in names] for each in status.accessories]
        lines += ["", *columns(_ACCESSORIES, accessories, stream)]
    if status.problems:
        lines += ["", *(line for each in status.problems for line in put(each, "  wrong "))]
    return [*lines, "", *(line for step in next_steps(status) for line in put(step, "  next  "))]


def _facts(status: Status, now: float) -> Iterator[tuple[str, str]]:
    """The rows above the instances: what each is about, and what is so."""
    yield "live", _live(status, now)
    if status.read_from_target:
        yield "ledger", "has nothing of this: it was read from the labels of what runs, and from the edge"
    yield "url", f"{status.url} ({status.edge})"
    supervised_by = "supervisor" if status.target == "process" else status.target
    yield supervised_by, status.supervised_by or "not running"
    if status.unfinished:
        yield "release", f"{status.unfinished} {'is being done' if status.at_work else 'was left unfinished'}"
    if status.rollout is not None:
        yield from rollout_rows(status.rollout, now)
    if status.maintenance_since is not None:
        by = f", by {status.maintenance_by}" if status.maintenance_by else ""
        began = ago(now - status.maintenance_since, suffix="")
        yield "maintenance", f"on for {began}{by}: users get the maintenance page"
    if status.lock:
        yield "lock", status.lock
    if status.warm_until is not None and status.warm_until > now:
        yield "warm", f"the version before, for another {ago(status.warm_until - now, suffix='')}"


def _live(status: Status, now: float) -> str:
    if status.live and not any(item.role == "live" for item in _running(status)):
        return f"nothing: {status.version} ({status.live}) is live in the ledger and does not run"
    if status.live and status.since is not None:
        doubt = "" if status.proven else "; not proven"
        return f"{status.version} ({status.live}), for {ago(now - status.since, suffix='')}{doubt}"
    return "nothing"


def _row(item: InstanceStatus) -> tuple[str, ...]:
    return (
        item.name,
        item.version,
        item.role,
        item.state if item.exit_code is None else f"{item.state} {item.exit_code}",
        item.address,
        "-" if item.weight is None else str(item.weight),
        str(item.restarts),
    )


def _running(status: Status) -> list[InstanceStatus]:
    return [item for item in status.instances if item.state != InstanceState.EXITED.value]
