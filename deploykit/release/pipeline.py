"""The stages of `invoke release` and `invoke rollback` in their order, each journalled, so that any of them can be taken up again.

lock -> plan -> preflight -> build -> migrate -> start -> switch -> verify -> record
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from deploykit.ledger.interface import StaleToken
from deploykit.model import DeploykitError, ReleaseOutcome, ReleaseRecord, Secret, UsageError
from deploykit.model.errors import Cancelled
from deploykit.release.build import Sources, build_artifact, load_artifact, read_sources
from deploykit.release.events import report_start, report_to_board
from deploykit.release.gathering import accessories_of
from deploykit.release.instances import Runnable
from deploykit.release.journal import ReleaseJournal
from deploykit.release.owner import actor
from deploykit.release.preflight import preflight
from deploykit.release.reporter import ReleaseReport, Reporter, Stages
from deploykit.release.rolling_out import RollingOut
from deploykit.release.strangers import refuse_strangers
from deploykit.release.targets_of_rollback import rollback_target, spec_of
from deploykit.release.values import database_values, read_values, store_values
from deploykit.release.warm import reap
from deploykit.rollout import Plan, State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deploykit.release.spec import ReleaseSpec
    from deploykit.release.surroundings import Surroundings

__all__ = ["Pipeline"]


@dataclass(kw_only=True)
class Pipeline:
    """One run of a command that changes what has the traffic, with the environment's lock held by `token`."""

    around: Surroundings
    reporter: Reporter
    stages: Stages
    token: int

    def begin(self, reason: str) -> None:
        """Before anything else: what is due, and in an incident a record that was lost.

        There nothing stands in the way; a release is refused, since the record may be somebody else's.
        """
        if reason == "rollback":
            self._find_again()
        for sentence in reap(self.around).problems:
            self.stages.warn(sentence)

    def _find_again(self) -> None:
        from deploykit.release.adopting import adopt, adopt_lines, is_lost

        if is_lost(self.around):
            for line in adopt_lines(adopt(self.around, token=self.token), self.around.name):
                self.reporter.note(line)

    # The three commands ----------------------------------------------------------------------------------------------

    def release(self) -> ReleaseReport:
        """Put the present tree into the environment."""
        self._settle_unfinished()
        with self.stages.stage("plan") as note:
            sources = read_sources(self.around)
            note.append(f"{sources.version} over {self._live_version()}")
            for warning in sources.warnings:
                self.stages.warn(warning)
        refuse_strangers(self.around)
        with self.stages.stage("preflight") as note:
            note.append(preflight(self.around, sources))
        self.around.remember_root()
        record = self.around.ledger.begin(
            version=sources.version,
            digest="",
            commit=sources.tree.commit,
            tree=sources.tree.tree,
            actor=actor(),
            kind="release",
            previous=self._live_id(),
            token=self.token,
        )
        return self._carried(record, lambda: self._carry_on(record, sources))

    def resume(self) -> ReleaseReport:
        """Finish a release whose process was killed."""
        record = self.around.ledger.unfinished()
        if record is None:
            raise UsageError(
                f"there is nothing to resume: no release to {self.around.name} was left unfinished",
                next_step=f"invoke status --env {self.around.name}",
            )
        self.reporter.note(f"resuming {record.id}, {record.kind} of {record.version}")
        return self._carried(record, lambda: self._carry_on(record, None))

    def rollback(self, to: str = "") -> ReleaseReport:
        """Give the traffic back to the version before, or to the one named."""
        unfinished = self.around.ledger.unfinished()
        if unfinished is not None and unfinished.kind == "rollback" and not to:
            # Whoever types it again after a kill wants what was begun, not the version that was fled from.
            self.reporter.note(f"{unfinished.id}, rollback to {unfinished.version}, had not ended: it is finished")
            record = unfinished
            return self._carried(record, lambda: self._carry_on(record, None))
        if unfinished is not None:
            record, state, failure = self._undo(unfinished)
            if state is None or not state.past_verdict:
                if not to:
                    return self._undone(record, failure)
                self.reporter.note(f"{record.id} was undone; it had not ended")
        from deploykit.release.changing import refuse_past_contract

        refuse_strangers(self.around, unknown=False)
        wanted = rollback_target(self.around.ledger, self.around.name, to)
        refuse_past_contract(self.around, wanted, tell=self.stages.warn)
        record = self.around.ledger.begin(
            version=wanted.version,
            digest=wanted.digest,
            commit=wanted.commit,
            tree=wanted.tree,
            actor=actor(),
            kind="rollback",
            previous=self._live_id(),
            token=self.token,
        )
        return self._carried(record, lambda: self._roll_back(record, wanted))

    # Taking up and undoing -------------------------------------------------------------------------------------------

    def _settle_unfinished(self) -> None:
        unfinished = self.around.ledger.unfinished()
        if unfinished is not None:
            self.reporter.note(f"{unfinished.id} ({unfinished.version}) was left unfinished: it is settled first")
            self._undo(unfinished)

    def _undo(self, record: ReleaseRecord) -> tuple[ReleaseRecord, State | None, DeploykitError | None]:
        """Undo a release that was killed, or finish it when it was past its verdict.

        The record, how its rollout ended (None: it had not begun), and what failed of undoing it.
        """
        journal = self._journal(record)
        step = journal.done("rollout")
        if step is None:
            reason = "its process was killed before anything was started"
            return self._finish(record, ReleaseOutcome.CANCELLED, reason), None, None
        with self.stages.stage("recover") as note:
            self.around.cancellation.shield()
            serving = self._recorded_target(journal) if record.kind == "rollback" else record
            undoing = self._rolling_out(journal, self._runnable(serving))
            state, failure = undoing.undo(Plan.from_json(step.action), "its process was killed")
            self.around.cancellation.unshield()
            note.append(f"{record.id} was {'finished' if state.past_verdict else 'undone'}")
        if failure is not None:
            self.stages.warn(f"not all of {record.id} could be undone: {failure.message}")
        return self._end(record, state), state, failure

    # The stages ------------------------------------------------------------------------------------------------------

    def _carry_on(self, record: ReleaseRecord, sources: Sources | None) -> ReleaseReport:
        """Everything after the plan; what the journal has already is not done again."""
        journal = self._journal(record)
        if record.kind == "rollback":
            wanted = self._recorded_target(journal)
            return self._roll_back(record, wanted)
        if sources is None and journal.done("build") is None:
            sources = read_sources(self.around)
            if sources.tree.tree != record.tree:
                self._finish(
                    record, ReleaseOutcome.CANCELLED, "killed before its artefact was built; the tree has changed since"
                )
                raise UsageError(
                    f"{record.id} can't be resumed: it was killed before its artefact was built, and the tree has changed since",
                    details=["nothing had been started; it is closed in the record"],
                    next_step=f"invoke release --env {self.around.name}",
                )
        if sources is not None:
            store_values(self.around.values_folder, record.id, sources.values)
        if sources is not None:
            journal.once("plan", sources.spec.as_json(), dict)
        spec = spec_of(self.around.ledger, record, self.around.name)
        with self.stages.stage("build") as note:
            built = journal.once("build", {"tree": record.tree}, lambda: build_artifact(self.around, sources, note))
            artifact = load_artifact(self.around, str(built["digest"]))
            note.append(str(built.get("note", "")))
        record = self.around.ledger.amend(record.id, version=artifact.version, digest=artifact.digest)
        values = read_values(self.around.values_folder, record.id)
        self._accessories(journal, values)
        from deploykit.release.migrate import migrate

        with self.stages.stage("migrate") as note:
            values = {**values, **database_values(self.around, spec)}
            done = journal.once(
                "migrate", {}, lambda: migrate(self.around, spec, record.id, artifact, values, tell=self.reporter.note)
            )
            note.append(str(done.get("note", "")))
        version = Runnable(release=record.id, spec=spec, artifact=artifact, values=values)
        return self._roll_out(record, journal, version, judged=True)

    def _accessories(self, journal: ReleaseJournal, values: Mapping[str, str | Secret]) -> None:
        """What the app needs beside it, before anything asks for it. They outlive the release, whatever becomes of it."""
        loaded = self.around.loaded
        names = sorted(accessories_of(loaded.settings, self.around.name)) if loaded is not None else []
        if not names:
            return
        with self.stages.stage("accessories") as note:

            def ensure() -> dict[str, Any]:
                return {"ready": list(self.around.place.ensure_accessories(values, self.stages.warn))}

            note.append(f"{', '.join(journal.once('accessories', {'names': names}, ensure)['ready'])} ready")

    def _roll_back(self, record: ReleaseRecord, wanted: ReleaseRecord) -> ReleaseReport:
        journal = self._journal(record)
        journal.once("target", {"release": wanted.id}, dict)
        report = self._roll_out(record, journal, self._runnable(wanted), judged=False)
        if report.exit_code == 0 and record.previous:
            ledger = self.around.ledger
            if self._record(record.previous).outcome is ReleaseOutcome.DONE:
                ledger.finish(record.previous, ReleaseOutcome.ROLLED_BACK, f"rolled back by {record.id}")
        return report

    def _roll_out(
        self,
        record: ReleaseRecord,
        journal: ReleaseJournal,
        version: Runnable,
        *,
        judged: bool,
    ) -> ReleaseReport:
        state, failure = self._rolling_out(journal, version).drive(judged=judged)
        record = self._end(record, state)
        return self._report(
            record,
            reason=record.reason,
            details=failure.details if failure is not None else (),
            next_step=failure.next_step if failure is not None else "",
            exit_code=failure.exit_code if failure is not None and record.outcome is not ReleaseOutcome.DONE else None,
        )

    def _rolling_out(self, journal: ReleaseJournal, version: Runnable) -> RollingOut:
        return RollingOut(
            around=self.around,
            journal=journal,
            version=version,
            stages=self.stages,
            tell=self.reporter.note,
        )

    def _runnable(self, record: ReleaseRecord) -> Runnable:
        """A version that was released before, from the record and the store alone."""
        spec = spec_of(self.around.ledger, record, self.around.name)
        return Runnable(
            release=record.id,
            spec=spec,
            artifact=load_artifact(self.around, record.digest),
            values={**self._kept_values(record, spec), **database_values(self.around, spec)},
        )

    def _kept_values(self, record: ReleaseRecord, spec: ReleaseSpec) -> Mapping[str, str | Secret]:
        """What that version was started with; on another machine than it was released from, what it would get now."""
        kept = read_values(self.around.values_folder, record.id)
        if kept or not self.around.place.shared or self.around.loaded is None:
            return kept
        from deploykit.release.gathering import gather_values

        values, warnings = gather_values(self.around, spec, make=False)
        for warning in warnings:
            self.stages.warn(warning)
        return values

    # Book-keeping ----------------------------------------------------------------------------------------------------

    def _carried(self, record: ReleaseRecord, act: Callable[[], ReleaseReport]) -> ReleaseReport:
        """Run a release to its end; whatever happens on the way is recorded before it is told."""
        report: ReleaseReport
        try:
            report = self._begun(record, act)
        except Cancelled as cancelled:
            record = self._finish(record, ReleaseOutcome.CANCELLED, cancelled.reason)
            report = self._report(record, reason=cancelled.reason, exit_code=1)
        except StaleToken as error:
            # Not ours to end any more: it stays unfinished, and whoever has the lock next settles it first.
            report = self._report(
                self._record(record.id), reason=error.message, next_step=error.next_step, exit_code=error.exit_code
            )
            return replace(report, outcome="unfinished")
        except DeploykitError as error:
            current = self.around.ledger.release(record.id) or record
            if current.outcome is ReleaseOutcome.RUNNING:
                current = self._finish(record, ReleaseOutcome.FAILED, error.message)
            report = self._report(
                current,
                reason=error.message,
                details=error.details,
                next_step=error.next_step,
                exit_code=error.exit_code,
            )
        except Exception as error:
            # A full disk, say; or a cleanup that failed and hid the cancellation. Anything else is a mistake of the kit:
            # it is shown as one, and what it left behind is settled by the next command.
            cancelled_by = self.around.cancellation.reason
            if not cancelled_by and not isinstance(error, OSError):
                raise
            reason = cancelled_by or f"{type(error).__name__}: {error}"
            outcome = ReleaseOutcome.CANCELLED if cancelled_by else ReleaseOutcome.FAILED
            report = self._report(self._finish(record, outcome, reason), reason=reason, exit_code=1)
        report_to_board(self.around, report, self.stages.warn)
        return report

    def _begun(self, record: ReleaseRecord, act: Callable[[], ReleaseReport]) -> ReleaseReport:
        """`act`, which a cancellation may cut short; what comes after it is said and recorded in any case."""
        try:
            self.around.cancellation.check()
            report_start(self.around, record)
            return act()
        finally:
            self.around.cancellation.shield()

    def _end(self, record: ReleaseRecord, state: State) -> ReleaseRecord:
        if state.past_verdict:
            return self._finish(record, ReleaseOutcome.DONE, state.reason)
        outcome = ReleaseOutcome.CANCELLED if state.cancelled else ReleaseOutcome.FAILED
        return self._finish(record, outcome, state.reason)

    def _finish(self, record: ReleaseRecord, outcome: ReleaseOutcome, reason: str) -> ReleaseRecord:
        return self.around.ledger.finish(record.id, outcome, reason)

    def _journal(self, record: ReleaseRecord) -> ReleaseJournal:
        return ReleaseJournal(self.around.ledger, record.id, self.token)

    def _record(self, release: str) -> ReleaseRecord:
        record = self.around.ledger.release(release)
        if record is None:
            raise DeploykitError(
                f"the ledger has no release {release!r}", next_step=f"invoke history --env {self.around.name}"
            )
        return record

    def _recorded_target(self, journal: ReleaseJournal) -> ReleaseRecord:
        step = journal.done("target")
        if step is None:
            # Killed before that was written; the record itself says which version was meant, and nothing has changed since.
            meant, ledger = self._record(journal.release), self.around.ledger
            before = ledger.release(live.previous) if (live := ledger.live()) is not None and live.previous else None
            if before is not None and before.digest == meant.digest:
                return before
            return rollback_target(ledger, self.around.name, meant.version)
        return self._record(str(step.action["release"]))

    def _live_id(self) -> str:
        live = self.around.ledger.live()
        return live.id if live is not None else ""

    def _live_version(self) -> str:
        live = self.around.ledger.live()
        return live.version if live is not None else "nothing"

    def _undone(self, record: ReleaseRecord, failure: DeploykitError | None) -> ReleaseReport:
        """The report of a rollback that had only to undo what had not ended: the live version has the traffic."""
        live = self.around.ledger.live()
        if failure is not None:
            # Where nothing is live, what was left may hold the port and answer nobody.
            command = "status" if live is not None else "down"
            report = self._report(
                record,
                reason=f"{record.id} had not ended, and not all of it could be undone: {failure.message}",
                details=failure.details,
                next_step=f"invoke {command} --env {self.around.name}",
                exit_code=1,
            )
            report_to_board(self.around, report, self.stages.warn)
            return report
        reason = f"{record.id} ({record.version}) had not ended and was undone"
        report = self._report(live or record, reason=reason, exit_code=0)
        report_to_board(self.around, self._report(record, reason=record.reason), self.stages.warn)
        if live is None:
            return replace(report, outcome="undone", version="", digest="")
        return replace(report, outcome="undone")

    def _report(
        self,
        record: ReleaseRecord,
        *,
        reason: str = "",
        details: tuple[str, ...] = (),
        next_step: str = "",
        exit_code: int | None = None,
    ) -> ReleaseReport:
        good = record.outcome is ReleaseOutcome.DONE
        return ReleaseReport(
            outcome=record.outcome.value,
            release=record.id,
            app=self.around.app,
            environment=self.around.name,
            version=record.version,
            digest=record.digest,
            url=self.around.edge.url(),
            anchor=self.around.ledger.head(),
            stages=tuple(self.stages.done),
            reason=reason,
            details=details,
            next_step=next_step,
            exit_code=exit_code if exit_code is not None else (0 if good else 1),
            warnings=tuple(self.stages.warnings),
            kind=record.kind,
            live=self._serving(),
            back_to=self._back_to(),
        )

    def _serving(self) -> str:
        """What users get now, as the edge has it; the record may know of something that was taken down."""
        try:
            servers = self.around.edge.servers() if self.around.edge.running() else ()
        except DeploykitError:
            return ""
        releases = sorted({state.server.release for state in servers if state.weight > 0})
        records = [record for name in releases if (record := self.around.ledger.release(name)) is not None]
        return ", ".join(f"{record.version} ({record.id})" for record in records)

    def _back_to(self) -> str:
        try:
            return rollback_target(self.around.ledger, self.around.name, "").version
        except DeploykitError:
            return ""
