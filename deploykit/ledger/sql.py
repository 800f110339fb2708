"""The ledger on SQL: SQLite and PostgreSQL behave the same, and pass one contract suite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploykit.ledger import rows, upgrade
from deploykit.ledger.canonical import clean, dumps, plain
from deploykit.ledger.check import ADOPT, check_chain
from deploykit.ledger.connect import open_database
from deploykit.ledger.interface import ChainProblem, Entry, Step, StepState, Timer
from deploykit.ledger.journal import Journal
from deploykit.ledger.projections import RESTARTED
from deploykit.ledger.requests import SqlRequests
from deploykit.ledger.tables import CHAINS, ENTRIES, EVIDENCE, RELEASES, REPOSITORIES, STEPS, TIMERS
from deploykit.model import DeploykitError, ReleaseOutcome, ReleaseRecord, RepositoryIdentity

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from deploykit.ledger.database import Connection
    from deploykit.ledger.queries import Query

__all__ = ["SqlLedger", "open_ledger"]

_RUNNING = ReleaseOutcome.RUNNING.value
_ROLLED_BACK = ReleaseOutcome.ROLLED_BACK.value
_UNDONE_LATER = {ReleaseOutcome.DONE.value, ReleaseOutcome.FAILED.value}


def open_ledger(
    where: str | os.PathLike[str],
    *,
    app: str,
    environment: str,
    clock: Callable[[], float] | None = None,
    busy_seconds: float = 15.0,
) -> SqlLedger:
    """Open the ledger at a path or URL, made or upgraded where needed.

    `clock` gives UTC epoch seconds; None is this machine's clock for a file, and the server's for PostgreSQL, so that
    machines whose clocks differ agree on when a lease runs out. A write waits up to `busy_seconds` for other writers.
    Raises DeploykitError when it can't be opened, UsageError when it is newer than this kit.
    """
    database = open_database(where, busy_seconds=busy_seconds)
    try:
        upgrade.ensure(database)
    except BaseException:
        database.close()
        raise
    return SqlLedger(database, app=app, environment=environment, clock=clock)


class SqlLedger(SqlRequests):
    """The ledger of one app in one environment. Threads may share one; each call is a transaction of its own.

    Every write but `result` is durable when the call returns. Every method raises DeploykitError when the store can't
    be used (full, gone, busy for too long, damaged). It raises TypeError when a JSON object holds a value that is not
    JSON, above all a Secret.
    """

    # Releases

    def begin(  # noqa: PLR0913 (the fields of a release)
        self,
        *,
        version: str,
        digest: str,
        commit: str,
        tree: str,
        actor: str,
        kind: str,
        previous: str,
        token: int,
        release: str = "",
    ) -> ReleaseRecord:
        """A new release, outcome RUNNING. Ids are `r1`, `r2`, …, always one more than the highest there is.

        `release` is the id of one that was made before this record was, and is only now taken into it.
        Raises StaleToken when `token` is no longer the lock's, DeploykitError while another release is RUNNING:
        `finish` that one first; also when `release` is no such id, or is taken.
        """
        payload = {
            "version": version,
            "digest": digest,
            "commit": commit,
            "tree": tree,
            "actor": actor,
            "kind": kind,
            "previous": previous,
            "token": token,
        }
        with self._write() as journal:
            self._require(journal.connection, token)
            open_one = journal.connection.value(self._ask(RELEASES, outcome=_RUNNING, columns=["id"]))
            if open_one is not None:
                raise DeploykitError(
                    f"Release {open_one} of {self.app} in {self.environment} has not ended.",
                    next_step=f"invoke release --env {self.environment} --resume",
                )
            known = {row["id"] for row in journal.connection.rows(self._ask(RELEASES, columns=["id"]))}
            if release and (release in known or not rows.RELEASE_ID.fullmatch(release)):
                raise DeploykitError(
                    f"{clean(release)} can't be adopted: that is not a release id, or the ledger has it already.",
                    next_step=f"invoke history --env {self.environment}",
                )
            highest = max((int(each[1:]) for each in known if rows.RELEASE_ID.fullmatch(each)), default=0)
            entry = journal.append("release.begun", payload, release=release or f"r{highest + 1}")
            return self._existing(journal.connection, entry.release)

    def amend(self, release: str, *, version: str = "", digest: str = "") -> ReleaseRecord:
        """Fill in what was not known at the beginning."""
        with self._write() as journal:
            known = self._existing(journal.connection, release)
            wanted = {"version": version, "digest": digest}
            news = {name: value for name, value in wanted.items() if value and value != getattr(known, name)}
            if not news:
                return known
            journal.append("release.amended", news, release=release)
            return self._existing(journal.connection, release)

    def finish(self, release: str, outcome: ReleaseOutcome, reason: str = "") -> ReleaseRecord:
        """RUNNING may become anything, DONE and FAILED may become ROLLED_BACK; the same outcome again changes nothing.

        Raises DeploykitError for every other change of mind.
        """
        if outcome is ReleaseOutcome.RUNNING:
            raise ValueError("a release is finished by an outcome, and RUNNING is none")
        with self._write() as journal:
            known = self._existing(journal.connection, release)
            if known.outcome is outcome:
                return known
            was = known.outcome.value
            if was != _RUNNING and not (was in _UNDONE_LATER and outcome.value == _ROLLED_BACK):
                raise DeploykitError(
                    f"Release {release} of {self.app} in {self.environment} ended already: "
                    f"it is {was}, not {outcome.value}.",
                    next_step=f"invoke history --env {self.environment}",
                )
            journal.append("release.finished", {"outcome": outcome.value, "reason": reason}, release=release)
            return self._existing(journal.connection, release)

    def set_live(self, release: str) -> None:
        """From now on this release has the traffic."""
        with self._write() as journal:
            self._existing(journal.connection, release)
            live = journal.connection.first(self._live())
            if live is None or live["id"] != release:
                journal.append("release.live", {}, release=release)

    def live(self) -> ReleaseRecord | None:
        """The release that `set_live` named last."""
        return self._one_release(self._live())

    def release(self, release: str) -> ReleaseRecord | None:
        return self._one_release(self._ask(RELEASES, id=clean(release)))

    def releases(self, *, limit: int = 50) -> Sequence[ReleaseRecord]:
        """Newest first."""
        query = self._ask(RELEASES, order=["-sequence"], limit=limit)
        with self._database.read() as connection:
            return [rows.release(row) for row in connection.rows(query)]

    def unfinished(self) -> ReleaseRecord | None:
        """The release whose outcome is RUNNING, if any (there is at most one)."""
        return self._one_release(self._ask(RELEASES, outcome=_RUNNING))

    def _one_release(self, query: Query) -> ReleaseRecord | None:
        with self._database.read() as connection:
            row = connection.first(query)
            return None if row is None else rows.release(row)

    def _live(self) -> Query:
        return self._ask(RELEASES, present="live_sequence", order=["-live_sequence"], limit=1)

    def _existing(self, connection: Connection, release: str) -> ReleaseRecord:
        row = connection.first(self._ask(RELEASES, id=clean(release)))
        if row is None:
            raise DeploykitError(
                f"There is no release {clean(release)} of {self.app} in {self.environment}.",
                next_step=f"invoke history --env {self.environment}",
            )
        return rows.release(row)

    # Journal

    def intend(self, release: str, name: str, action: Mapping[str, Any], *, token: int) -> int:
        """Commit the intent; returns the step's sequence. Raises StaleToken when `token` is no longer the lock's."""
        payload = {"name": name, "action": action, "token": token}
        with self._write() as journal:
            self._require(journal.connection, token)
            self._existing(journal.connection, release)
            return journal.append("step.intended", payload, release=release).sequence

    def result(self, sequence: int, state: StepState, result: Mapping[str, Any]) -> None:
        """How the step ended. Needs no token: what happened, happened. The same result again changes nothing.

        Committed when the call returns, and durable with the next write at the latest: a power cut in between leaves a
        step without a result, as a process that was killed before this call does.
        """
        if state is StepState.INTENDED:
            raise ValueError("a step ends DONE or FAILED")
        content = plain(result)
        # A lost result is a step to do once more, which every step allows; what comes next makes it durable.
        with self._write(flush=False) as journal:
            row = journal.connection.first(self._ask(STEPS, sequence=sequence))
            if row is None:
                raise DeploykitError(
                    f"There is no step {sequence} in {self.app}'s ledger of {self.environment}.",
                    next_step=f"invoke history --env {self.environment}",
                )
            if (row["state"], row["result"]) == (state.value, dumps(content)):
                return
            if row["state"] != StepState.INTENDED.value:
                raise DeploykitError(
                    f"Step {sequence} ({row['name']}) of {row['release']} ended already: it is {row['state']}.",
                    details=(f"recorded: {row['result']}", f"given now: {dumps(content)}"),
                )
            payload = {"step": sequence, "state": state.value, "result": content}
            journal.append("step.result", payload, release=row["release"])

    def steps(self, release: str) -> Sequence[Step]:
        """In the order in which they were intended."""
        query = self._ask(STEPS, release=clean(release), order=["sequence"])
        with self._database.read() as connection:
            return [rows.step(row) for row in connection.rows(query)]

    # Evidence

    def add_evidence(self, verdict: Mapping[str, Any]) -> None:
        """`verdict` as JSON, with its seal: others may write the ledger, so that has to be looked at again."""
        with self._write() as journal:
            journal.append("evidence.added", {"verdict": verdict})

    def evidence(self, gate: str, tree: str) -> Mapping[str, Any] | None:
        """The newest verdict of that gate on that very tree, as it was added."""
        query = self._ask(EVIDENCE, gate=clean(gate), tree=clean(tree), order=["-sequence"], limit=1)
        with self._database.read() as connection:
            row = connection.first(query)
            return None if row is None else rows.verdict(row)

    # Timers

    def add_timer(self, kind: str, release: str, due_at: float, payload: Mapping[str, Any]) -> Timer:
        content = {"kind": kind, "due_at": float(due_at), "payload": payload}
        with self._write() as journal:
            entry = journal.append("timer.added", content, release=release)
            (row,) = journal.connection.rows(self._ask(TIMERS, sequence=entry.sequence))
            return rows.timer(row)

    def timers(self) -> Sequence[Timer]:
        """The earliest due first."""
        query = self._ask(TIMERS, order=["due_at", "sequence"])
        with self._database.read() as connection:
            return [rows.timer(row) for row in connection.rows(query)]

    def remove_timer(self, timer: int) -> None:
        """It was done, or is no longer wanted. A timer that is gone already is no error."""
        with self._write() as journal:
            row = journal.connection.first(self._ask(TIMERS, sequence=timer))
            if row is not None:
                journal.append("timer.removed", {"timer": timer}, release=row["release"])

    # Whose environment it is

    def claim(self, repository: RepositoryIdentity) -> None:
        """From now on that repository is the app as well."""
        with self._write() as journal:
            journal.append("repository.claimed", {"repository": repository.as_json()})

    def repositories(self) -> Sequence[RepositoryIdentity]:
        """Those that are the app, oldest first; none before the first claim."""
        with self._database.read() as connection:
            return [rows.repository(row) for row in connection.rows(self._ask(REPOSITORIES, order=["sequence"]))]

    # The chain

    def head(self) -> str:
        """The hash of the newest entry of the chain, `""` when it is empty."""
        with self._database.read() as connection:
            return connection.value(self._ask(CHAINS, columns=["hash"])) or ""

    def entries(self, *, limit: int = 50) -> Sequence[Entry]:
        """The chain itself, newest first."""
        query = self._ask(ENTRIES, order=["-sequence"], limit=limit)
        with self._database.read() as connection:
            return [rows.entry(row) for row in connection.rows(query)]

    def check(self, anchors: Mapping[str, str] | Sequence[str] = ()) -> Sequence[ChainProblem]:
        """Walk the whole chain; empty when every hash holds, the tables agree with the entries, and every anchor is
        known.

        `anchors` are hashes kept outside of the ledger (`Labels.anchor` of what runs): only they can show that the
        newest entries were cut off, or all rewritten. A mapping names each: `{where it was seen: hash}`. An anchor that
        the chain itself took in with a release from before it (a step `adopt` with that `anchor`) is known by that.
        """
        return check_chain(self._database, app=self.app, environment=self.environment, anchors=anchors)

    def adopted(self) -> frozenset[str]:
        """The releases that were taken into the chain from what ran (`begin` with `release`): only the entry itself
        says that they are what it says.
        """
        with self._database.read() as connection:
            found = connection.rows(self._ask(STEPS, name=ADOPT, columns=["release"]))
            return frozenset(str(row["release"]) for row in found)

    def restart(self, by: str, problems: Sequence[str]) -> int:
        """Begin the chain again behind its end, whatever is wrong with what is there; returns the entry's sequence.

        No entry is lost, and those before this one are not judged any more. The tables are empty, and the lock is free:
        the caller sees to it that nobody is at work.
        """
        with self._database.write() as connection:
            newest = connection.first(self._ask(ENTRIES, order=["-sequence"], limit=1))
            journal = Journal(connection, app=self.app, environment=self.environment, clock=self._now)
            if newest is not None:
                journal.continue_from(*rows.chain_end(newest))
            return journal.append(RESTARTED, {"by": by, "problems": list(problems)}).sequence

    def restarted_at_entry(self) -> int:
        """The sequence of the entry at which the chain was begun again last, 0 where it never was."""
        with self._database.read() as connection:
            query = self._ask(ENTRIES, kind=RESTARTED, columns=["sequence"], order=["-sequence"], limit=1)
            return connection.value(query) or 0

    def close(self) -> None:
        self._database.close()
