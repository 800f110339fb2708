"""What the state says: promote, abort or undecided, in one sentence with its figures.

A version is promoted only when the wanted requests were seen and nothing speaks against it. It is aborted when the
evidence is enough, or a hard limit is broken. Everything else is undecided, and says what would decide.
"""

from __future__ import annotations

import enum
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from deploykit.rollout.judge import sentences
from deploykit.rollout.judge.limits import Criterion
from deploykit.rollout.judge.tally import Counts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deploykit.rollout.judge.limits import Limits
    from deploykit.rollout.judge.state import State, Totals
    from deploykit.rollout.judge.tally import Tally

__all__ = ["CanaryVerdict", "Decision", "judge"]


class Decision(enum.Enum):
    PROMOTE = "promote"
    ABORT = "abort"
    UNDECIDED = "undecided"


_HEADS = {Decision.PROMOTE: "promoted", Decision.ABORT: "aborted", Decision.UNDECIDED: "undecided"}
DOUBT = 10**0.5
"""An e-value from which a version is not promoted: "substantial" evidence on Jeffreys' scale (Vovk and Wang,
"E-values", The Annals of Statistics 49, 2021).
"""
FEW = 0.1
"""The part of its limit up to which a comparison raises no doubt, though it may abort: 2 errors in 10,000 requests are
more than the stable version's 0, and only errors of the stable version would ever take the doubt away.
"""
ALIKE = 3
"""How many times as often as the stable version the candidate may be bad for an incident to be one of both.

An abort comes after a few bad requests, too few to compare exactly. With 3, about one of ten shared incidents is
blamed on the version, and at most one of fifteen of its own faults is not (simulated at 5, 25 and 50 % of the traffic).
"""
HARD_MOMENTS = 6
"""A hard limit is broken by requests of at least so many slots: one burst that fails is one event, not a rate."""


@dataclass(frozen=True, kw_only=True)
class CanaryVerdict:
    """The judgement of one look. `sentence` is for people, `figures` are JSON values.

    `blames_version` False, in an abort: the stable version broke the same limit at the same time. `more_requests` is
    about how many more of the candidate's requests decide, if it goes on like this; None: no number of them does.
    `missing` of the wanted requests were not seen yet.
    """

    decision: Decision
    sentence: str
    figures: Mapping[str, Any]
    blames_version: bool = False
    more_requests: int | None = None
    missing: int = 0

    @property
    def reason(self) -> str:
        """The sentence without the decision at its head."""
        return self.sentence.removeprefix(f"{_HEADS[self.decision]}: ")

    def as_json(self) -> dict[str, Any]:
        return {
            "decision": self.decision.value,
            "sentence": self.sentence,
            "figures": dict(self.figures),
            "blames_version": self.blames_version,
            "more_requests": self.more_requests,
            "missing": self.missing,
        }


@dataclass(frozen=True, kw_only=True)
class _Reason:
    """Why a version is aborted, or not promoted yet."""

    text: str
    blames: bool = True
    more_requests: int | None = None


def judge(state: State, *, baked: bool, unhealthy: str = "") -> CanaryVerdict:
    """Judge what was seen so far. As often as anybody likes: looking changes nothing, and costs nothing.

    `baked`: the stage's bake time is over. `unhealthy`: what is wrong with an instance's health, in a few words.
    """
    missing = max(state.limits.requests - state.candidate.requests, 0)
    abort = _unhealthy(unhealthy) or _database(state) or _evident(state) or _hard(state)
    if abort is not None:
        sentence = f"aborted: {abort.text}"
        if not abort.blames:
            sentence += "; so it was with the stable version at the same time: the version is not to blame"
        return CanaryVerdict(
            decision=Decision.ABORT,
            sentence=sentence,
            figures=_figures(state),
            blames_version=abort.blames,
            missing=missing,
        )
    open_question = (
        _doubt(state) or _outvoted(state) or _missing(missing, state) or (None if baked else _not_baked(state))
    )
    if open_question is None:
        return CanaryVerdict(
            decision=Decision.PROMOTE, sentence=f"promoted: {_nothing_against(state)}", figures=_figures(state)
        )
    sentence = f"undecided: {open_question.text}"
    if open_question.more_requests is not None:
        sentence += f"; about {sentences.about(open_question.more_requests)} more requests decide"
    return CanaryVerdict(
        decision=Decision.UNDECIDED,
        sentence=sentence,
        figures=_figures(state),
        more_requests=open_question.more_requests,
        missing=missing,
    )


def _unhealthy(unhealthy: str) -> _Reason | None:
    return _Reason(text=unhealthy) if unhealthy else None


def _database(state: State) -> _Reason | None:
    """An error of the database is not counted, it ends the canary."""
    errors = state.candidate.database_errors
    if not errors:
        return None
    return _Reason(
        text=f"{sentences.count(errors, 'request')} failed in the database", blames=not state.stable.database_errors
    )


def _evident(state: State) -> _Reason | None:
    """The first criterion whose evidence is enough."""
    for criterion, tally in state.tallies.items():
        if tally.crossed:
            counts, text = _evidence(state, criterion)
            shared = _shared(state, criterion, counts, state.limits.allowed_share(criterion))
            return _Reason(text=f"{text}; {sentences.rarity(tally.evidence.e)}", blames=not shared)
    return None


def _evidence(state: State, criterion: Criterion) -> tuple[Counts, str]:
    """The requests that show what the evidence says, and the sentence about them.

    That is the whole stage where it looks bad as a whole. In one that was good for long it is what came since.
    """
    tally = state.tallies[criterion]
    whole = _worse(state.limits, criterion, tally.stage) or not tally.recent.requests
    counts = tally.stage if whole else tally.recent
    recent = counts.requests < tally.stage.requests
    text = sentences.evidence(
        criterion, counts, state.limits, recent=recent, probes=state.candidate.probes, slower_ms=state.slower_ms
    )
    return counts, text


def _worse(limits: Limits, criterion: Criterion, counts: Counts) -> bool:
    """Whether the mere shares are above what is allowed."""
    if criterion.relative:
        return counts.bad * counts.stable_requests > limits.margin * counts.stable_bad * counts.requests
    return counts.bad > limits.allowed_share(criterion) * counts.requests


_COMPARED = {Criterion.ERRORS: Criterion.ERRORS_VS_STABLE, Criterion.SLOW: Criterion.SLOW_VS_STABLE}


def _shared(state: State, criterion: Criterion, counts: Counts, allowed: float) -> bool:
    """Whether the stable version broke the same limit in the same span, and the candidate does not look worse: no
    comparison speaks against it, and it was bad at most `ALIKE` times as often.
    """
    if criterion.relative:
        return False
    too_bad = counts.stable_bad > allowed * counts.stable_requests
    alike = counts.bad * counts.stable_requests <= ALIKE * counts.stable_bad * counts.requests
    return too_bad and alike and state.tallies[_COMPARED[criterion]].evidence.e < DOUBT


def _hard(state: State) -> _Reason | None:
    """The template's limits, from `hard_requests` on."""
    if state.candidate.requests < state.limits.hard_requests:
        return None
    return _hard_errors(state) or _hard_p95(state)


def _hard_errors(state: State) -> _Reason | None:
    candidate, stable = state.candidate, state.stable
    highest = max(state.limits.hard_error_rate, state.limits.error_rate)
    if candidate.errors <= highest * candidate.requests or candidate.error_moments < HARD_MOMENTS:
        return None
    counts = Counts(
        requests=candidate.requests,
        bad=candidate.errors,
        stable_requests=stable.requests,
        stable_bad=stable.errors,
    )
    failed = sentences.share(candidate.errors, candidate.requests)
    return _Reason(
        text=f"{failed} failed, and more than {sentences.percent(highest)} is never accepted",
        blames=not _shared(state, Criterion.ERRORS, counts, highest),
    )


def _hard_p95(state: State) -> _Reason | None:
    p95, stable_p95, slower_ms = state.candidate.latencies.p95_ms, state.stable_p95_ms, state.slower_ms
    if p95 is None or stable_p95 is None or slower_ms is None:
        return None
    if p95 <= slower_ms or state.candidate.slower_moments < HARD_MOMENTS:
        return None
    # Where one request in twenty takes long in every version, each p95 is one or the other by chance.
    compared = state.tallies[Criterion.SLOW_VS_STABLE].stage
    if compared.stable_requests and not _worse(state.limits, Criterion.SLOW_VS_STABLE, compared):
        return None
    times = f"{state.limits.hard_p95_times:g} times the stable version's {stable_p95:.0f} ms"
    return _Reason(text=f"p95 is {p95:.0f} ms, more than {times}")


def _doubt(state: State) -> _Reason | None:
    """What speaks against the version without being enough: evidence, or a share above its limit."""
    for criterion, tally in state.tallies.items():
        counts, text = _evidence(state, criterion)
        few = criterion.relative and counts.bad <= FEW * state.limits.allowed_share(criterion) * counts.requests
        if tally.evidence.e >= DOUBT and not few:
            return _Reason(text=text, more_requests=_until_crossed(tally))
        if not criterion.relative and _worse(state.limits, criterion, tally.stage):
            return _Reason(text=text, more_requests=_until_allowed(state.limits, criterion, tally.stage))
    return None


def _outvoted(state: State) -> _Reason | None:
    """Users' requests fail too often by themselves, and only probes brought the share below the limit.

    A page that fails for users is not healed by a health path that answers.
    """
    seen, allowed = state.candidate, state.limits.allowed_share(Criterion.ERRORS)
    if not seen.probes or seen.user_errors <= allowed * seen.users:
        return None
    failed = sentences.share(seen.user_errors, seen.users)
    text = f"of users' own, {failed} failed, where at most {sentences.percent(state.limits.error_rate)} may"
    return _Reason(text=text, more_requests=max(math.ceil(seen.user_errors / allowed) - seen.users, 1))


def _until_crossed(tally: Tally) -> int:
    """Requests until the evidence is enough, if it goes on growing as it did since it was at its lowest."""
    missing, grown = math.log(tally.threshold / tally.evidence.e), math.log(tally.evidence.e / tally.lowest)
    return max(math.ceil(missing / grown * tally.recent.requests), 1)


def _until_allowed(limits: Limits, criterion: Criterion, counts: Counts) -> int:
    """Good requests until the share is what is allowed."""
    return max(math.ceil(counts.bad / limits.allowed_share(criterion)) - counts.requests, 1)


def _missing(missing: int, state: State) -> _Reason | None:
    if not missing:
        return None
    wanted, seen = state.limits.requests, state.candidate
    if not seen.requests:
        return _Reason(text=f"no requests yet, {wanted:,} are wanted", more_requests=missing)
    text = f"{seen.requests:,} of {sentences.count(wanted, 'wanted request')} seen"
    return _Reason(text=text + sentences.details(seen.requests, seen.probes, seen.errors), more_requests=missing)


def _not_baked(state: State) -> _Reason:
    return _Reason(text=f"{_nothing_against(state)}; the bake time is not over")


def _nothing_against(state: State) -> str:
    seen = state.candidate
    text = f"{sentences.count(seen.requests, 'request')} seen"
    text += sentences.details(seen.requests, seen.probes, seen.errors) + ", no limit is exceeded"
    return text if state.stable.requests else text + "; the stable version had no requests to compare with"


def _figures(state: State) -> dict[str, Any]:
    return {
        "criteria": {
            criterion.value: {
                "e_value": tally.evidence.e,
                "aborts_at": tally.threshold,
                "stage": asdict(tally.stage),
                "recent": asdict(tally.recent),
            }
            for criterion, tally in state.tallies.items()
        },
        "candidate": _totals(state.candidate),
        "stable": _totals(state.stable),
        "stable_p95_ms": state.stable_p95_ms,
        "wanted_requests": state.limits.requests,
    }


def _totals(totals: Totals) -> dict[str, Any]:
    return {
        "requests": totals.requests,
        "probes": totals.probes,
        "errors": totals.errors,
        "probe_errors": totals.probe_errors,
        "database_errors": totals.database_errors,
        "p95_ms": totals.latencies.p95_ms,
    }
