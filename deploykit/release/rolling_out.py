"""The rollout of one version: its plan, its engine and what the engine acts with, put together.

A module of its own since nothing of it is needed before there is something to roll out: `Place.build` has it read while a
registry works.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from deploykit.process.ahead import Ahead
from deploykit.release import checks
from deploykit.release.instances import instance_names, instance_specs
from deploykit.release.performer import ReleasePerformer, Serving
from deploykit.release.progress import StageProgress
from deploykit.release.rollout_plan import make_plan
from deploykit.release.values import secrets_in
from deploykit.release.warm import prune
from deploykit.rollout import Engine, Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploykit.model import DeploykitError
    from deploykit.release.instances import Runnable
    from deploykit.release.journal import ReleaseJournal
    from deploykit.release.reporter import Stages
    from deploykit.release.surroundings import Surroundings
    from deploykit.release.warm import Reaped
    from deploykit.rollout import State

__all__ = ["RollingOut"]


@dataclass(frozen=True, kw_only=True)
class RollingOut:
    """Rolls `version` out in the environment, by the journal of a release.

    `shield`: from now on signals have to wait; `tell` hears what is to be said besides the stages.
    """

    around: Surroundings
    journal: ReleaseJournal
    version: Runnable
    stages: Stages
    shield: Callable[[], None]
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
        # While a version starts there is time for that; a rollback has none to lose.
        pruned = Ahead(partial(_beside, self.around)) if judged else None
        try:
            with progress:
                state = engine.drive()
        finally:
            # Not beyond the lock, whatever came of the rollout.
            for sentence in pruned.get().problems if pruned is not None else ():
                self.stages.warn(sentence)
        return state, engine.failure

    def undo(self, plan: Plan, reason: str) -> State:
        """Undo what of the plan was done; finish it where it was past its verdict."""
        engine, _ = self._engine(plan)
        return engine.undo(reason)

    def _engine(self, plan: Plan) -> tuple[Engine, StageProgress]:
        version = self.version
        specs = instance_specs(
            version.spec, version.release, version.artifact, version.values, anchor=self.around.ledger.head()
        )
        performer = ReleasePerformer(
            target=self.around.target,
            edge=self.around.edge,
            ledger=self.around.ledger,
            checks=checks.Checks(target=self.around.target, tell=self.tell, secrets=secrets_in(version.values)),
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
            shield=self.shield,
            starting=progress.starting,
            notice=progress.noticed,
        )
        return engine, progress


def _beside(around: Surroundings) -> Reaped:
    """What goes on while a version starts. What needs this process's attention comes last: the start has been asked for."""
    reaped = prune(around)
    checks.ahead()
    return reaped
