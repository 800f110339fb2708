"""What people ask of a release that runs, from other terminals and machines; and when users saw the maintenance page.

All of it is in the entries alone. A release follows the chain from entry to entry, and acts on nothing that is not a
link of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploykit.ledger import rows
from deploykit.ledger.canonical import clean
from deploykit.ledger.check import link_problems
from deploykit.ledger.interface import BrokenChain, Entry, Maintenance, Request
from deploykit.ledger.lock import SqlLock
from deploykit.ledger.projections import RESTARTED
from deploykit.ledger.tables import CHAINS, ENTRIES, RELEASES
from deploykit.model import DeploykitError, ReleaseOutcome, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deploykit.ledger.database import Connection

__all__ = ["SqlRequests"]

ASKED, ANSWERED, MAINTENANCE = "rollout.asked", "rollout.answered", "maintenance.set"
_AT_ONCE = 1_000


class SqlRequests(SqlLock):
    """Requests, their answers and maintenance, of one app in one environment."""

    def ask(self, release: str, name: str, *, actor: str, reason: str) -> Request:
        """Ask for `name` of a release that runs. Raises UsageError when it has ended, or there is none."""
        with self._write() as journal:
            row = journal.connection.first(self._ask(RELEASES, id=clean(release), columns=["outcome"]))
            if row is None or row["outcome"] != ReleaseOutcome.RUNNING.value:
                raise UsageError(
                    f"{clean(release)} has ended: it is {row['outcome']}."
                    if row is not None
                    else f"There is no release {clean(release)} of {self.app} in {self.environment}.",
                    next_step=f"invoke history --env {self.environment}",
                )
            payload = {"name": name, "actor": actor, "reason": reason}
            return _request(journal.append(ASKED, payload, release=release), None)

    def answer(self, number: int, text: str, *, followed: bool) -> None:
        """What came of a request; `followed`: something did. The same answer again changes nothing.

        Raises UsageError for another one, and for a request that there is not.
        """
        with self._write() as journal:
            asked = journal.connection.first(self._ask(ENTRIES, sequence=number, kind=ASKED))
            if asked is None:
                raise UsageError(
                    f"there is no request {number} in {self.app}'s ledger of {self.environment}",
                    next_step=f"invoke history --env {self.environment}",
                )
            known = self._answers(journal.connection, asked["release"]).get(number)
            if known is None:
                journal.append(
                    ANSWERED, {"request": number, "text": text, "followed": followed}, release=asked["release"]
                )
            elif known.payload["text"] != clean(text):
                raise UsageError(
                    f"request {number} was answered already: {known.payload['text']}",
                    next_step=f"invoke history --env {self.environment}",
                )

    def requests(self, *, release: str = "", limit: int = 200) -> Sequence[Request]:
        """The newest requests, of one release or of all, newest first."""
        with self._database.read(snapshot=True) as connection:
            found = self._newest(connection, ASKED, release, limit)
            answers = self._answers(connection, release)
            return [_request(entry, answers.get(entry.sequence)) for entry in found if _is_request(entry)]

    def record_maintenance(self, actor: str, *, enabled: bool, seconds: float | None = None) -> None:
        """Users see the maintenance page from now on, or do not any more, after so many seconds."""
        payload = {"enabled": enabled, "by": actor, "seconds": seconds}
        with self._write() as journal:
            journal.append(MAINTENANCE, payload)

    def maintenance(self, *, limit: int = 20) -> Sequence[Maintenance]:
        """When it was switched, newest first."""
        with self._database.read() as connection:
            found = self._newest(connection, MAINTENANCE, "", limit)
        return [
            Maintenance(
                at=entry.at,
                actor=str(entry.payload.get("by", "")),
                enabled=entry.payload.get("enabled") is True,
                seconds=_number(entry.payload.get("seconds")),
            )
            for entry in found
        ]

    # ---- following the chain

    def place(self, sequence: int) -> tuple[int, str]:
        """The sequence and the hash of that entry. Raises UsageError where there is none."""
        with self._database.read() as connection:
            row = connection.first(self._ask(ENTRIES, sequence=sequence, columns=["sequence", "hash"]))
        if row is None:
            raise UsageError(
                f"there is no entry {sequence} in {self.app}'s ledger of {self.environment}",
                next_step=f"invoke history --env {self.environment} --check",
            )
        return rows.chain_end(row)

    def end(self) -> tuple[int, str]:
        """The sequence and the hash of the newest entry; 0 and `""` of an empty chain."""
        with self._database.read() as connection:
            row = connection.first(self._ask(CHAINS))
            return (0, "") if row is None else rows.chain_end(row)

    def entries_after(self, sequence: int, head: str) -> Sequence[Entry]:
        """The entries behind the one with this sequence and hash, oldest first, at most 1,000.

        One query. Raises BrokenChain when they are not the links that follow it.
        """
        query = self._ask(ENTRIES, after=("sequence", sequence), order=["sequence"], limit=_AT_ONCE)
        with self._database.read() as connection:
            found = connection.rows(query)
        return list(self._followed(found, sequence, head))

    def _followed(self, found: Sequence[dict[str, Any]], sequence: int, head: str) -> Iterator[Entry]:
        for row in found:
            if problem := next(link_problems(self._scope, row, sequence, head), None):
                raise self._broken(problem)
            try:
                entry = rows.entry(row)
            except DeploykitError as error:
                raise self._broken(error.message) from None
            yield entry
            sequence, head = entry.sequence, entry.hash

    def _broken(self, problem: str) -> BrokenChain:
        return BrokenChain(
            f"the ledger of {self.environment} does not hold: {problem}",
            next_step=f"invoke history --env {self.environment} --check",
        )

    def _newest(self, connection: Connection, kind: str, release: str, limit: int) -> Sequence[Entry]:
        """Those that count: after the entry at which the chain was restarted."""
        of_release = {"release": clean(release)} if release else {}
        restarted = self._ask(ENTRIES, kind=RESTARTED, columns=["sequence"], order=["-sequence"], limit=1)
        after = ("sequence", connection.value(restarted) or 0)
        query = self._ask(ENTRIES, kind=kind, after=after, order=["-sequence"], limit=limit, **of_release)
        return [rows.entry(row) for row in connection.rows(query)]

    def _answers(self, connection: Connection, release: str) -> dict[int, Entry]:
        found = self._newest(connection, ANSWERED, release, _AT_ONCE)
        return {
            entry.payload["request"]: entry
            for entry in found
            if isinstance(entry.payload.get("request"), int) and isinstance(entry.payload.get("text"), str)
        }


def _is_request(entry: Entry) -> bool:
    return all(isinstance(entry.payload.get(name), str) for name in ("name", "actor", "reason"))


def _request(entry: Entry, answer: Entry | None) -> Request:
    return Request(
        number=entry.sequence,
        release=entry.release,
        name=entry.payload["name"],
        actor=entry.payload["actor"],
        reason=entry.payload["reason"],
        at=entry.at,
        answer=answer.payload["text"] if answer is not None else "",
        answered_at=answer.at if answer is not None else None,
        followed=answer is not None and answer.payload.get("followed") is True,
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
