"""The judgement of a version while it has traffic: look each second, abort at once, promote when nothing speaks against
it, and never pass what nobody has seen.

The judge itself is pure (`rollout/judge`, docs/judge.md). Here is what it needs: answers from the edge, probes where
users are missing, time, and what people ask from other terminals.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from deploykit.model import DeploykitError, InconclusiveError
from deploykit.process.cancellation import NEVER, Cancellation
from deploykit.release.execution.observed import Answers, Observed, limits_of
from deploykit.release.execution.orders import Commands, NoCommands, Orders, actor
from deploykit.release.execution.probing import Probing, Reached
from deploykit.release.execution.verdict_words import DECISIONS, blame, figures, seen, span
from deploykit.release.reporting.live_view import LiveView
from deploykit.rollout import UndecidedError
from deploykit.rollout.judge import CanaryVerdict, Decision

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from deploykit.edge.interface import Mark
    from deploykit.release.execution.ledger_commands import Command
    from deploykit.release.version.spec import ReleaseSpec
    from deploykit.rollout import Strategy

__all__ = ["Verification", "VerifiedEdge", "judge_live"]

_LOOK_SECONDS = 1.0
_RENEW_SECONDS = 3.0
_GRACE_SECONDS = 0.5
"""At the end, users' requests in flight are waited for so long; those of a version without users are none."""
_MORE_SECONDS = 30.0
"""Where users send enough, so much longer than the bake time an undecided round goes on."""
_LEAST_ROUND = 60.0
"""Seconds of a round after the first: each is an entry in the journal."""


class VerifiedEdge(Answers, Reached, Protocol):
    """What a verification asks of an edge."""


@dataclass(kw_only=True)
class _Stage:
    """A stage that is being judged, over all its rounds. Moments are seconds on the verification's clock."""

    number: int
    stages: int
    share: float
    bake: float
    enough: int
    confirm: bool
    observed: Observed
    probing: Probing
    orders: Orders
    began: float
    rounds: int = 0
    ends: float = 0.0
    """When the bake time of this round is over."""
    settled: bool = False
    probed: bool = False
    waits_since: float | None = None
    """Since when it waits for a person."""
    confirming: bool = False

    @property
    def name(self) -> str:
        return f"stage {self.number} of {self.stages}" if self.stages > 1 else "the release"

    @property
    def where(self) -> str:
        return f" in stage {self.number} of {self.stages}" if self.stages > 1 else ""


@dataclass(kw_only=True)
class Verification:
    """Judges one release, stage by stage. `release` is the ledger's id of the version that is judged.

    `unhealthy` says in a sentence what is wrong with an instance, else "". `logs` are the last lines of the version,
    already redacted. `renew` is called every few seconds. `tell` gets sentences, `view` what happens now, each second.
    `clock` are seconds that only go on.
    """

    edge: VerifiedEdge
    release: str
    spec: ReleaseSpec
    strategy: Strategy
    unhealthy: Callable[[], str]
    logs: Callable[[], Sequence[str]] = tuple
    renew: Callable[[], None] = lambda: None
    commands: Commands = field(default_factory=NoCommands)
    tell: Callable[[str], None] = lambda _text: None
    view: Callable[[LiveView], None] = lambda _view: None
    redact: Callable[[str], str] = str
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    cancellation: Cancellation = NEVER
    _stage: _Stage | None = None
    _renewed: float | None = None

    def watch(self, stage: Mapping[str, Any], since: Mark, judged: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """One round of a stage: what users get for its bake time, with probes at the end where that is too little.

        `stage` are the parameters of a VERIFY action, `judged` is what this returned under that name at the end of the
        stage before. Without that, requests count from the mark `since`. Returns what goes to the ledger: `verdict`,
        `judged`, `note`, `decided_by` a person (or ""), `commands`, `causes`.

        Raises DeploykitError for a version that is aborted, UndecidedError where another round may decide,
        InconclusiveError where nobody waits any longer, what `renew` raises, and Cancelled.
        """
        at = self._begin_round(stage, since, judged)
        while True:
            verdict = self._look(at)
            if (promotion := at.orders.promotion) is not None:
                return self._promoted_by_person(at, promotion)
            if self._waits(at, verdict):
                self.sleep(_LOOK_SECONDS)
            elif verdict.decision is Decision.PROMOTE:
                self._settle(at)
                if (verdict := self._judged(at)).decision is Decision.PROMOTE:
                    return self._result(at, verdict)
            elif (left := at.ends - self.clock()) > 0:
                self.sleep(min(left, _LOOK_SECONDS))
            elif not self._seek(at):
                self._end_round(at, verdict)

    def _begin_round(self, stage: Mapping[str, Any], since: Mark, judged: Mapping[str, Any] | None) -> _Stage:
        at = self._stage
        if at is None or at.number != stage["stage"]:
            at = self._stage = self._begin_stage(stage, since, judged)
        at.rounds += 1
        at.settled = at.probed = False
        seconds = at.bake
        if at.rounds > 1:
            left = at.began + self.strategy.patience - self.clock()
            seconds = max(min(max(at.bake, _LEAST_ROUND), left), _LOOK_SECONDS)
        at.ends = self.clock() + seconds
        return at

    def _begin_stage(self, stage: Mapping[str, Any], since: Mark, judged: Mapping[str, Any] | None) -> _Stage:
        at = _Stage(
            number=stage["stage"],
            stages=stage["stages"],
            share=stage["share"],
            bake=stage["bake"],
            enough=stage["enough"],
            confirm=stage["confirm"],
            observed=Observed.of_stage(self.release, limits_of(self.spec.thresholds), since, judged),
            probing=Probing(
                edge=self.edge,
                spec=self.spec,
                redact=self.redact,
                clock=self.clock,
                sleep=self.sleep,
                cancellation=self.cancellation,
                meanwhile=self._while_probing,
            ),
            orders=Orders(commands=self.commands, stage=""),
            began=self.clock(),
        )
        at.orders.stage = at.name
        return at

    # Each second -----------------------------------------------------------------------------------------------------

    def _look(self, at: _Stage) -> CanaryVerdict:
        self.cancellation.check()
        self._renew()
        at.orders.take(confirming=at.confirming)
        at.observed.read(self.edge, self.clock())
        verdict = self._judged(at)
        self._obey_abortion(at, verdict)
        if at.bake or at.rounds > 1 or self._waits_for(at):
            self.view(self._view(at, verdict))
        return verdict

    def _obey_abortion(self, at: _Stage, verdict: CanaryVerdict) -> None:
        if (command := at.orders.abortion) is None:
            return
        at.orders.settle(command, f"{at.name} is aborted: the version before gets the traffic back")
        if at.orders.promotion is not None:
            at.orders.refuse(at.orders.promotion, f"{actor(command)} has aborted {at.name}")
        raise self._error(
            DeploykitError, at, f"the new version was aborted by {actor(command)}{at.where}: {verdict.sentence}"
        )

    def _while_probing(self) -> None:
        """Nobody who asks for something waits until the last probe is answered."""
        self._renew()
        if (at := self._stage) is not None:
            at.orders.take(confirming=at.confirming)
            self._obey_abortion(at, self._verdict(at))

    def _renew(self) -> None:
        if self._renewed is None or self.clock() - self._renewed >= _RENEW_SECONDS:
            self.renew()
            self._renewed = self.clock()

    def _verdict(self, at: _Stage) -> CanaryVerdict:
        enough = 0 < at.enough <= at.observed.fresh
        baked = at.rounds > 1 or enough or self.clock() >= at.ends
        return at.observed.verdict(baked=baked, unhealthy=self.unhealthy() or at.probing.broken())

    def _judged(self, at: _Stage) -> CanaryVerdict:
        """The verdict; an abort is raised."""
        verdict = self._verdict(at)
        if verdict.decision is not Decision.ABORT:
            return verdict
        for command in (at.orders.promotion, at.orders.abortion):
            if command is not None:
                at.orders.refuse(command, f"the judge has aborted {at.name}: {verdict.reason}")
        raise self._error(
            DeploykitError, at, f"the new version was aborted{at.where}: {verdict.reason}", blame(verdict, at.observed)
        )

    def _waits(self, at: _Stage, verdict: CanaryVerdict) -> bool:
        """Whether the stage waits for a person. Raises InconclusiveError when it did so for too long."""
        at.confirming = verdict.decision is Decision.PROMOTE and at.confirm and not at.orders.confirmed_by
        if not at.confirming and not at.orders.paused_by:
            at.waits_since = None
            return False
        if at.waits_since is None:
            at.waits_since = self.clock()
            self.tell(f"{at.name}: {self._waits_for(at)}")
        if self.clock() - at.waits_since >= self.strategy.patience:
            what = "continued" if at.orders.paused_by else "confirmed"
            raise self._error(
                InconclusiveError,
                at,
                f"the new version was given up{at.where}: nobody has {what} it within {span(self.strategy.patience)}",
            )
        return True

    def _waits_for(self, at: _Stage) -> str:
        environment = f"--env {self.spec.environment}"
        if at.orders.paused_by:
            return f"paused by {at.orders.paused_by}, until: invoke rollout.continue {environment}"
        if at.confirming:
            return f"waits for a person: invoke rollout.continue {environment}"
        if at.rounds > 1 and self.strategy.undecided == "ask":
            return f"a person decides: invoke rollout.promote {environment}, or rollout.abort {environment}"
        return ""

    # At the end of a round -------------------------------------------------------------------------------------------

    def _settle(self, at: _Stage) -> None:
        """Count all requests that have been begun, those in flight too where they end soon."""
        if at.observed.has_users:
            self.sleep(_GRACE_SECONDS)
        at.observed.read(self.edge, self.clock(), all_of_it=True)
        at.settled = True

    def _seek(self, at: _Stage) -> bool:
        """Look for more evidence at the end of a round; whether there is a chance that it decides now."""
        if not at.settled:
            self._settle(at)
            return True
        wanted, users = at.observed.state.limits.requests, at.observed.state.candidate.users
        if users >= wanted:
            if self.clock() >= at.ends + _MORE_SECONDS:
                return False
            self.sleep(_LOOK_SECONDS)
            return True
        if at.probed:
            return False
        at.probed = True
        if missing := self._verdict(at).missing:
            self.tell(
                f"{users} user requests. Judged on {missing} probe requests as well."
                if users
                else f"No user traffic yet. Judged on {missing} probe requests."
            )
        at.probing.decide(at.observed, lambda: self._verdict(at), stop=lambda: at.orders.promotion is not None)
        return True

    def _end_round(self, at: _Stage, verdict: CanaryVerdict) -> None:
        """Nothing decided: another round, or the end."""
        left = at.began + self.strategy.patience - self.clock()
        if self.strategy.undecided == "abort" or left <= 0:
            after = f" after {span(self.clock() - at.began)}" if self.strategy.undecided != "abort" else ""
            raise self._error(
                InconclusiveError, at, f"the new version was given up{at.where}{after}, {verdict.sentence}"
            )
        environment = f"--env {self.spec.environment}"
        more = "it is watched further"
        if self.strategy.undecided == "ask":
            more = f"a person decides: invoke rollout.promote {environment}, or rollout.abort {environment}"
        raise UndecidedError(f"{at.name} is {verdict.sentence}; {more}, for {span(left)} at most")

    def _promoted_by_person(self, at: _Stage, command: Command) -> Mapping[str, Any]:
        self._settle(at)
        verdict = self._judged(at)
        at.orders.settle(command, f"{at.name} is promoted")
        return self._result(at, verdict, decided_by=actor(command))

    def _result(self, at: _Stage, verdict: CanaryVerdict, *, decided_by: str = "") -> Mapping[str, Any]:
        note = f"promoted: {seen(at.observed.state.candidate)}"
        if decided_by:
            note = f"promoted by {decided_by}, where the judge said {verdict.sentence}"
        elif at.orders.confirmed_by:
            note += f"; confirmed by {at.orders.confirmed_by}"
        return {
            "note": f"{at.share:.3g} % {note}" if at.stages > 1 else note,
            "decided_by": decided_by or at.orders.confirmed_by,
            "verdict": verdict.as_json(),
            "judged": at.observed.for_next_stage(),
            "commands": at.orders.asked,
            "causes": at.probing.causes,
        }

    def _error(
        self, kind: type[DeploykitError], at: _Stage, message: str, details: Sequence[str] = ()
    ) -> DeploykitError:
        return kind(
            message,
            details=[*details, *at.probing.causes, *self.logs()],
            next_step=f"fix it, then run: invoke release --env {self.spec.environment}",
        )

    def _view(self, at: _Stage, verdict: CanaryVerdict) -> LiveView:
        ends = at.ends if at.waits_since is None else at.waits_since + self.strategy.patience
        candidate, stable = at.observed.state.candidate, at.observed.state.stable
        return LiveView(
            stage=at.number,
            stages=at.stages,
            share=at.share,
            candidate=figures(candidate),
            stable=figures(stable),
            decision=DECISIONS[verdict.decision],
            words=verdict.reason,
            probes=candidate.probes,
            left=max(ends - self.clock(), 0.0),
            waits_for=self._waits_for(at),
        )


def judge_live(  # noqa: PLR0913 - what is judged, by what, since when; by keyword
    edge: VerifiedEdge,
    release: str,
    spec: ReleaseSpec,
    *,
    since: Mark,
    redact: Callable[[str], str] = str,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    cancellation: Cancellation = NEVER,
) -> tuple[CanaryVerdict, tuple[str, ...]]:
    """Judge what a release answered since the mark, at once, with probes where users sent too little: the verdict, and
    what probes failed of.
    """
    observed = Observed.of_stage(release, limits_of(spec.thresholds), since)
    observed.read(edge, clock(), all_of_it=True)
    probing = Probing(edge=edge, spec=spec, redact=redact, clock=clock, sleep=sleep, cancellation=cancellation)

    def verdict() -> CanaryVerdict:
        return observed.verdict(baked=True, unhealthy=probing.broken())

    if observed.state.candidate.users >= spec.thresholds.requests:
        return verdict(), ()
    return probing.decide(observed, verdict), tuple(probing.causes)
