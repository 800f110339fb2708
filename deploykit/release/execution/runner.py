"""Runs the rollout of one version: its plan, the engine that follows it, and what the engine acts with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.release.execution.actions import RolloutActions
from deploykit.release.execution.checks import Checks
from deploykit.release.execution.instance_health import InstanceHealth
from deploykit.release.execution.ledger_commands import LedgerCommands
from deploykit.release.execution.orders import NoCommands
from deploykit.release.execution.plan import make_plan, recorded_plan
from deploykit.release.execution.progress import StageProgress
from deploykit.release.execution.verification import Verification
from deploykit.release.version.instances import instance_names, instance_specs
from deploykit.release.version.values import secrets_in
from deploykit.rollout import Engine, Plan, State

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from deploykit.edge.interface import Edge
    from deploykit.model import DeploykitError
    from deploykit.process.cancellation import Cancellation
    from deploykit.release.execution.journal import ReleaseJournal
    from deploykit.release.execution.orders import Commands
    from deploykit.release.reporting.reporter import Stages
    from deploykit.release.version.instances import RunnableVersion
    from deploykit.targets.interface import Target

__all__ = ["RolloutRunner"]


@dataclass(frozen=True, kw_only=True)
class RolloutRunner:
    """Rolls `version` out on target and edge, by the journal of a release. `folder` and `variable`: see Checks;
    `earlier`: see RolloutActions.
    """

    target: Target
    edge: Edge
    journal: ReleaseJournal
    version: RunnableVersion
    earlier: Callable[[str], RunnableVersion]
    folder: Path
    variable: Callable[[str], str]
    stages: Stages
    cancellation: Cancellation

    def run(self, *, judged: bool) -> tuple[State, DeploykitError | None]:
        """From the journal's plan, or a new one, to the end: how it ended, and why it failed. Raises as
        `Engine.drive` does.
        """
        step = self.journal.done("rollout")
        if step is None:
            spec = self.version.spec
            names = instance_names(self.version.release, spec)
            plan = make_plan(self.target, self.edge, self.journal.ledger.live(), names, spec, judged=judged)
            self.journal.once("rollout", plan.as_json(), dict)
        else:
            plan = recorded_plan(step, self.version.spec.environment)
        progress = StageProgress(self.stages)
        commands: Commands = NoCommands()
        if plan.judged:
            commands = LedgerCommands(self.journal.ledger, self.version.release, self.journal.token)
        engine = self._engine(plan, progress, commands)
        with progress:
            state = engine.drive()
        return state, engine.failure

    def undo(self, plan: Plan, reason: str) -> tuple[State, DeploykitError | None]:
        """Undo what was done of the plan, or finish it where it was past its verdict: how it ended, and what failed
        of that.
        """
        engine = self._engine(plan, StageProgress(self.stages), NoCommands())
        state = engine.undo(reason)
        return state, engine.undo_failure

    def _engine(self, plan: Plan, progress: StageProgress, commands: Commands) -> Engine:
        version = self.version
        checks = Checks(
            target=self.target,
            secrets=secrets_in(version.values),
            folder=self.folder,
            variable=self.variable,
            cancellation=self.cancellation,
        )
        actions = RolloutActions(
            target=self.target,
            edge=self.edge,
            ledger=self.journal.ledger,
            checks=checks,
            verification=self._verification(plan, checks, commands),
            version=version,
            instances=instance_specs(version, anchor=self.journal.ledger.head()),
            earlier=self.earlier,
            warn=self.stages.warn,
        )
        actions.restore_mark(self.journal.ledger.steps(self.journal.release))
        return Engine(
            plan,
            self.journal,
            actions,
            check=self.cancellation.check,
            mask=self.cancellation.mask,
            starting=progress.starting,
            notice=progress.noticed,
        )

    def _verification(self, plan: Plan, checks: Checks, commands: Commands) -> Verification:
        release, spec = self.version.release, self.version.spec
        return Verification(
            edge=self.edge,
            release=release,
            spec=spec,
            strategy=spec.rollout,
            unhealthy=InstanceHealth(
                release=release, ended=lambda: checks.ended_by_itself(release), servers=self.edge.servers
            ),
            logs=lambda: checks.logs(release),
            renew=self.edge.renew_lease if plan.lease else lambda: None,
            commands=commands,
            tell=self.stages.note,
            view=self.stages.view,
            redact=checks.redact,
            sleep=self.cancellation.wait,
            cancellation=self.cancellation,
        )
