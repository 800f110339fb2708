"""The rollout of one version: its plan, its engine and what the engine acts with, put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.release.checks import Checks
from deploykit.release.instances import Runnable, instance_names, instance_specs
from deploykit.release.performer import ReleasePerformer, Serving
from deploykit.release.progress import StageProgress
from deploykit.release.rollout_plan import make_plan
from deploykit.release.values import secrets_in
from deploykit.release.warm import prune
from deploykit.rollout import Engine, Plan, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploykit.model import DeploykitError
    from deploykit.release.journal import ReleaseJournal
    from deploykit.release.reporter import Stages
    from deploykit.release.surroundings import Surroundings

__all__ = ["RollingOut"]


@dataclass(frozen=True, kw_only=True)
class RollingOut:
    """Rolls `version` out in the environment, by the journal of a release.

    `tell` hears what is to be said besides the stages.
    """

    around: Surroundings
    journal: ReleaseJournal
    version: Runnable
    stages: Stages
    tell: Callable[[str], None]

    def drive(self, *, judged: bool) -> tuple[State, DeploykitError | None]:
        """From the journal's plan, or a new one, to the end: how it ended, and what it failed of."""
        step = self.journal.done("rollout")
        if step is None:
            plan = make_plan(self.around, instance_names(self.version.release, self.version.spec), judged=judged)
            self.journal.once("rollout", plan.as_json(), dict)
        else:
            plan = Plan.from_json(step.action)
        engine, progress = self._engine(plan)
        with progress:
            state = engine.drive()
        if judged:  # a rollback is in a hurry
            for sentence in prune(self.around).problems:
                self.stages.warn(sentence)
        return state, engine.failure

    def undo(self, plan: Plan, reason: str) -> tuple[State, DeploykitError | None]:
        """Undo what of the plan was done, or finish it where it was past its verdict: how it ended, and what failed of it."""
        engine, _ = self._engine(plan)
        state = engine.undo(reason)
        return state, engine.undo_failure

    def _engine(self, plan: Plan) -> tuple[Engine, StageProgress]:
        version = self.version
        specs = instance_specs(
            version.spec, version.release, version.artifact, version.values, anchor=self.around.ledger.head()
        )
        performer = ReleasePerformer(
            target=self.around.target,
            edge=self.around.edge,
            ledger=self.around.ledger,
            checks=Checks(
                target=self.around.target,
                tell=self.tell,
                secrets=secrets_in(version.values),
                cancellation=self.around.cancellation,
            ),
            serving=Serving(release=version.release, spec=version.spec, instances=specs),
            note=self.stages.warn,
            warm_for=version.spec.warm_for,
        )
        performer.restore_marks(self.journal.ledger.steps(self.journal.release))
        progress = StageProgress(self.stages)
        engine = Engine(
            plan,
            self.journal,
            performer,
            check=self.around.cancellation.check,
            shield=self.around.cancellation.shield,
            starting=progress.starting,
            notice=progress.noticed,
        )
        return engine, progress
