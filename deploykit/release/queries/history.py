"""`invoke history`: the releases, and the proof that the ledger is whole and agrees with what runs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from deploykit.model import DeploykitError, ReleaseOutcome, ReleaseRecord
from deploykit.release.environment.trust import ledger_problems
from deploykit.release.reporting.text import ago, clock, columns, filled, width
from deploykit.targets.interface import InstanceState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deploykit.ledger.interface import Maintenance, Request
    from deploykit.release.environment import Environment

__all__ = ["Checked", "check_history", "history_lines", "read_history"]

_NOT_PROVEN = ", not proven"
_REASONS = 5
"""For so many releases the reason of a failure is printed below the table."""
_REQUESTS = 10
"""So many requests of people are printed below them."""
_SWITCHES = 4
"""How many of the last changes of maintenance are listed."""
_MOST_WORDS = 200
"""Characters of what another terminal wrote."""


def read_history(environment: Environment, limit: int) -> list[dict[str, Any]]:
    """The newest releases, as `--json` prints them."""
    live, adopted = environment.ledger.live(), environment.ledger.adopted()
    requests = environment.ledger.requests()
    records = environment.ledger.releases(limit=limit)
    unfinished = _lease_ended(environment) if any(each.outcome is ReleaseOutcome.RUNNING for each in records) else ""
    return [
        {
            "release": record.id,
            "kind": record.kind,
            "version": record.version,
            "outcome": record.outcome.value,
            "proven": record.id not in adopted,
            "live": live is not None and record.id == live.id,
            "reason": record.reason or (unfinished if record.outcome is ReleaseOutcome.RUNNING else ""),
            "actor": record.actor,
            "commit": record.commit,
            "digest": record.digest,
            "started_at": record.started_at,
            "finished_at": record.finished_at,
            "requests": [_asked(request, record) for request in reversed(requests) if request.release == record.id],
        }
        for record in records
    ]


def _lease_ended(environment: Environment) -> str:
    """What came of a release that has not ended, where the edge has given its traffic back; else empty."""
    try:
        lease = environment.edge.lease()
    except DeploykitError:
        return ""  # the history does not need an edge
    if lease is None or lease.ended_at is None:
        return ""
    return f"its lease ended at {clock(lease.ended_at)}, and the version before got all of the traffic back"


def _asked(request: Request, release: ReleaseRecord) -> dict[str, Any]:
    """What a person asked of the release, as `--json` prints it. `answer` is empty where nobody has answered."""
    return {
        "number": request.number,
        "command": request.name,
        "actor": request.actor,
        "reason": request.reason,
        "at": request.at,
        "answer": request.answer,
        "never_answered": not request.answer and release.outcome is not ReleaseOutcome.RUNNING,
    }


def history_lines(
    records: Sequence[dict[str, Any]], environment: str, stream: TextIO, maintenance: Sequence[Maintenance] = ()
) -> list[str]:
    """`maintenance`: the newest first."""
    if not records:
        return [f"no releases in {environment} yet", f"  next: invoke release --env {environment}"]
    now = time.time()
    rows = []
    for record in records:
        seconds = record["finished_at"] - record["started_at"] if record["finished_at"] else None
        rows.append(
            (
                record["release"] + ("*" if record["live"] else ""),
                record["kind"],
                record["version"],
                record["outcome"] + ("" if record["proven"] else _NOT_PROVEN),
                "" if seconds is None else f"{seconds:.1f} s",
                ago(now - record["started_at"]),
                record["actor"],
            )
        )
    lines = columns(("RELEASE", "KIND", "VERSION", "OUTCOME", "TOOK", "WHEN", "WHO"), rows, stream)
    for record in [record for record in records if record["reason"]][:_REASONS]:
        lines += filled(record["reason"], width(stream), first=f"  {record['release']}: ", rest="      ")
    asked = [(record["release"], request) for record in records for request in record["requests"]]
    for release, request in sorted(asked, key=lambda each: each[1]["number"])[-_REQUESTS:]:
        lines += filled(_request_line(request, now), width(stream), first=f"  {release}: ", rest="      ")
    for switched in reversed(maintenance[:_SWITCHES]):
        lines += filled(_maintenance_line(switched, now), width(stream), first="  ", rest="      ")
    notes = ["* has the traffic"] if any(record["live"] for record in records) else []
    if not all(record["proven"] for record in records):
        notes.append("not proven: taken from what ran (invoke ledger.adopt), by its labels alone")
    return [*lines, "", *notes] if notes else lines


def _maintenance_line(switched: Maintenance, now: float) -> str:
    shown = "" if switched.seconds is None else f", after {ago(switched.seconds, suffix='')}"
    word = "on" if switched.enabled else "off"
    return f"maintenance {word} by {switched.actor[:_MOST_WORDS]} {ago(now - switched.at)}{shown}"


def _request_line(request: Mapping[str, Any], now: float) -> str:
    why = f" ({request['reason'][:_MOST_WORDS]})" if request["reason"] else ""
    nothing = "not answered: the release ended" if request["never_answered"] else "not answered"
    asked = f"{request['actor'][:_MOST_WORDS]} asked to {request['command'][:_MOST_WORDS]} {ago(now - request['at'])}"
    return f"{asked}{why}: {request['answer'] or nothing}"


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What `history --check` found. `entries` is the length of the chain, `head` its newest hash.

    Where it was restarted (`ledger.adopt --replace`), entries count from `restarted_at_entry` on. `holds` is about the
    chain alone; `problems` are also what it and what runs disagree about. `not_proven` is what is live where the ledger
    has it from its own labels.
    """

    entries: int
    head: str
    problems: tuple[str, ...]
    environment: str
    restarted_at_entry: int = 0
    holds: bool = True
    not_proven: str = ""

    @property
    def exit_code(self) -> int:
        return 1 if self.problems else 2 if self.not_proven else 0

    def as_json(self) -> dict[str, Any]:
        return {
            "outcome": {0: "done", 1: "failed", 2: "inconclusive"}[self.exit_code],
            "not_proven": self.not_proven,
            "entries": self.entries,
            "restarted_at_entry": self.restarted_at_entry,
            "head": self.head,
            "problems": list(self.problems),
        }

    def lines(self, stream: TextIO) -> list[str]:
        restarted = f", restarted at entry {self.restarted_at_entry}" if self.restarted_at_entry else ""
        since = f"{self.entries} entries{restarted}"
        if not self.problems and self.not_proven:
            said = (
                f"not proven: {self.not_proven}, which is live and which the ledger has from its labels alone; all else"
                f" holds ({since})"
            )
            return [
                *filled(said, width(stream), first="", rest="  "),
                f"  head  {self.head}",
                f"  next: invoke release --env {self.environment}   (what is live then is proven)",
            ]
        if not self.problems:
            return [
                f"the ledger holds: {since}, every hash fits, and it agrees with what runs",
                f"  head  {self.head}",
            ]
        return [
            f"the ledger does not hold ({self.entries} entries):",
            *(line for problem in self.problems for line in filled(problem, width(stream), first="  ", rest="    ")),
            *self._next_steps(),
        ]

    def _next_steps(self) -> list[str]:
        env = f"--env {self.environment}"
        if self.holds:
            return [f"  next: invoke status {env}"]
        return [
            f"  next: restore its newest copy; if this is the newest: invoke ledger.accept {env}",
            f"  or:   begin a new one from what runs: invoke ledger.adopt {env} --replace",
        ]


def check_history(environment: Environment) -> Checked:
    """Walk the chain, look for the anchors that are known outside of it, and compare the ledger with target and
    edge.
    """
    ledger = environment.ledger
    broken = ledger_problems(environment)
    try:
        problems, live = [*broken, *_against_reality(environment)], ledger.live()
    except DeploykitError:
        if not broken:
            raise
        problems, live = broken, None  # it can't even be read
    entries = ledger.entries(limit=1)
    return Checked(
        entries=entries[0].sequence if entries else 0,
        head=ledger.head(),
        problems=tuple(problems),
        environment=environment.name,
        restarted_at_entry=ledger.restarted_at_entry(),
        holds=not broken,
        not_proven=live.id if live is not None and live.id in ledger.adopted() else "",
    )


def _against_reality(environment: Environment) -> list[str]:
    ledger = environment.ledger
    problems: list[str] = []
    unfinished = ledger.unfinished()
    alive = [item for item in environment.target.instances() if item.state is not InstanceState.EXITED]
    for instance in alive:
        record = ledger.release(instance.labels.release)
        if record is None:
            problems.append(f"{instance.name} runs, and the ledger has no release {instance.labels.release}")
        elif record.digest and record.digest != instance.labels.digest:
            problems.append(f"{instance.name} runs {instance.labels.digest[:19]}, the ledger says {record.digest[:19]}")
    live = ledger.live()
    if live is None or unfinished is not None or not environment.edge.running():
        return problems
    serving = {state.server.release for state in environment.edge.servers() if state.weight > 0}
    if serving != {live.id}:
        problems.append(
            f"the edge sends users to {', '.join(sorted(serving)) or 'no release'}, the ledger says {live.id}"
        )
    if live.outcome not in {ReleaseOutcome.DONE, ReleaseOutcome.RUNNING, ReleaseOutcome.ROLLED_BACK}:
        problems.append(f"{live.id} is live, and its outcome is {live.outcome.value}")
    if not any(item.labels.release == live.id for item in alive):
        problems.append(f"{live.id} is live in the ledger, and none of its instances runs")
    return problems
