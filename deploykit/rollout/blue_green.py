"""Blue-green as a pure state machine: `decide(state, observation) -> (state, actions)`. No I/O, no clock.

The order of the phases is the strategy. Users see the new version first at RAISE; until then a failure only stops what
was started. After RAISE a failure restores: raise the old, lower the new, drain it, stop it. After VERIFY has passed
there is no way back inside the rollout (that is `invoke rollback`): what is left is book-keeping, and it is finished.
Of that, LIVE and WARM have to happen: a rollout stays in them until they did. The others may fail.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from deploykit.rollout.actions import Action, Kind, Observation, Result

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Phase", "Plan", "State", "begin", "decide", "fold"]

FULL_WEIGHT = 100


class Phase(enum.Enum):
    """Where the rollout is. Each phase but the last two is one action."""

    START = "start"
    HEALTH = "health"
    SMOKE = "smoke"
    TRUST = "trust"
    EDGE = "edge"
    ATTACH = "attach"
    RAISE = "raise"
    LOWER = "lower"
    VERIFY = "verify"
    LIVE = "live"
    DRAIN = "drain"
    WARM = "warm"
    RETIRE = "retire"
    RESTORE = "restore"
    WITHDRAW = "withdraw"
    CLOSE = "close"
    DRAIN_NEW = "drain-new"
    DETACH_NEW = "detach-new"
    STOP_NEW = "stop-new"
    DONE = "done"
    FAILED = "failed"


FORWARD = (
    Phase.START,
    Phase.HEALTH,
    Phase.SMOKE,
    Phase.TRUST,
    Phase.EDGE,
    Phase.ATTACH,
    Phase.RAISE,
    Phase.LOWER,
    Phase.VERIFY,
    Phase.LIVE,
    Phase.DRAIN,
    Phase.WARM,
    Phase.RETIRE,
)
SEEN_BY_USERS = frozenset({Phase.RAISE, Phase.LOWER, Phase.VERIFY})
BOOK_KEEPING = frozenset({Phase.LIVE, Phase.DRAIN, Phase.WARM, Phase.RETIRE})
MUST_HAPPEN = frozenset({Phase.LIVE, Phase.WARM})
"""The ledger says what is live by LIVE, and what stops the old version later is set by WARM."""
ENDED = frozenset({Phase.DONE, Phase.FAILED})


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Who takes over from whom. Instances are named; the names are all that the strategy needs to know of them.

    `candidate` gets the traffic, `stable` has it now (empty at a first release), `older` is what may be retired once
    the candidate is live. `kept` of the candidate ran before (a rollback to a warm version): an abort leaves them
    running. `judged` False leaves out SMOKE and VERIFY: a version that was judged when it was released gets the
    traffic at once.
    """

    candidate: tuple[str, ...]
    stable: tuple[str, ...] = ()
    older: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    weight: int = FULL_WEIGHT
    judged: bool = True

    def __post_init__(self) -> None:
        if not self.candidate:
            raise ValueError("a rollout needs at least one instance of the new version")
        if set(self.candidate) & (set(self.stable) | set(self.older)):
            raise ValueError("an instance can't be both new and old")
        if not 1 <= self.weight <= 256:
            raise ValueError("a weight is 1 to 256")

    def as_json(self) -> dict[str, Any]:
        return {
            "candidate": list(self.candidate),
            "stable": list(self.stable),
            "older": list(self.older),
            "kept": list(self.kept),
            "weight": self.weight,
            "judged": self.judged,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        return cls(
            candidate=tuple(data["candidate"]),
            stable=tuple(data["stable"]),
            older=tuple(data["older"]),
            kept=tuple(data["kept"]),
            weight=data["weight"],
            judged=data["judged"],
        )


@dataclass(frozen=True, kw_only=True)
class State:
    """What is known so far. `pending` is the action that was asked for and not answered; `reason` says why it fails."""

    plan: Plan
    phase: Phase
    pending: Action | None = None
    reason: str = ""
    cancelled: bool = False

    @property
    def ended(self) -> bool:
        return self.phase in ENDED

    @property
    def aborting(self) -> bool:
        return self.phase not in FORWARD and self.phase is not Phase.DONE

    @property
    def past_verdict(self) -> bool:
        """The new version was judged good: what is left is book-keeping."""
        return self.phase in BOOK_KEEPING or self.phase is Phase.DONE


def begin(plan: Plan) -> State:
    """The state of a rollout of which nothing happened yet, its first action pending."""
    return _enter(State(plan=plan, phase=Phase.START), Phase.START)


def decide(state: State, observation: Observation) -> tuple[State, tuple[Action, ...]]:
    """The next state and what to do in it. An observation of anything else than the pending action changes nothing,
    apart from a cancellation, which is heard at any time.
    """
    if state.ended:
        return state, ()
    if observation.result is Result.CANCELLED:
        return _with_actions(_cancel(state, observation.reason))
    if state.pending is None or observation.action != state.pending.name:
        return _with_actions(state)
    if observation.result is Result.FAILED:
        return _with_actions(_fail(state, observation.reason))
    return _with_actions(_enter(state, _after(state)))


def fold(plan: Plan, observations: list[Observation]) -> State:
    """The state that these observations lead to; how a killed rollout is taken up again from its journal."""
    state = begin(plan)
    for observation in observations:
        state, _ = decide(state, observation)
    return state


def _with_actions(state: State) -> tuple[State, tuple[Action, ...]]:
    return state, (state.pending,) if state.pending is not None else ()


def _cancel(state: State, reason: str) -> State:
    if state.phase in BOOK_KEEPING or state.aborting:
        # Past the verdict the release stands; while it is being undone there is nothing more to cancel.
        return state
    return _abort(replace(state, cancelled=True), reason)


def _fail(state: State, reason: str) -> State:
    if state.phase in MUST_HAPPEN:
        return state
    if state.phase in BOOK_KEEPING or state.aborting:
        # Nothing here can put users at risk by not happening, and the step's failure is on the record: go on.
        return _enter(replace(state, reason=state.reason or reason), _after(state))
    return _abort(state, reason)


def _abort(state: State, reason: str) -> State:
    state = replace(state, reason=reason)
    if state.phase not in SEEN_BY_USERS:
        if not state.plan.stable and _position(state.phase) >= _position(Phase.EDGE):
            # Nobody is behind the proxy: half started, it would take connections and let them wait.
            return _enter(state, Phase.CLOSE)
        return _enter(state, Phase.DETACH_NEW if _position(state.phase) >= _position(Phase.ATTACH) else Phase.STOP_NEW)
    return _enter(state, Phase.RESTORE if state.plan.stable else Phase.CLOSE)


def _position(phase: Phase) -> int:
    return FORWARD.index(phase)


def _after(state: State) -> Phase:
    """The phase after this one."""
    if state.phase in FORWARD:
        index = _position(state.phase) + 1
        return FORWARD[index] if index < len(FORWARD) else Phase.DONE
    return {
        Phase.RESTORE: Phase.WITHDRAW,
        Phase.WITHDRAW: Phase.DRAIN_NEW,
        Phase.CLOSE: Phase.STOP_NEW,
        Phase.DRAIN_NEW: Phase.DETACH_NEW,
        Phase.DETACH_NEW: Phase.STOP_NEW,
        Phase.STOP_NEW: Phase.FAILED,
    }[state.phase]


def _enter(state: State, phase: Phase) -> State:
    """Enter a phase, or the next one that has something to do."""
    state = replace(state, phase=phase, pending=None)
    if state.ended:
        return state
    action = _action(state.plan, phase)
    if action is None:
        return _enter(state, _after(state))
    return replace(state, pending=action)


def _action(plan: Plan, phase: Phase) -> Action | None:
    fresh = tuple(name for name in plan.candidate if name not in plan.kept)
    about: dict[Phase, tuple[Kind, tuple[str, ...]]] = {
        Phase.START: (Kind.START, plan.candidate),
        Phase.HEALTH: (Kind.HEALTH, plan.candidate),
        Phase.SMOKE: (Kind.SMOKE, plan.candidate),
        Phase.TRUST: (Kind.TRUST, plan.candidate),
        Phase.EDGE: (Kind.EDGE, plan.candidate),
        Phase.ATTACH: (Kind.ATTACH, plan.candidate),
        Phase.RAISE: (Kind.RAISE, plan.candidate),
        Phase.LOWER: (Kind.LOWER, plan.stable),
        Phase.VERIFY: (Kind.VERIFY, plan.candidate),
        Phase.LIVE: (Kind.LIVE, plan.candidate),
        Phase.DRAIN: (Kind.DRAIN, plan.stable),
        Phase.WARM: (Kind.WARM, plan.stable),
        Phase.RETIRE: (Kind.RETIRE, plan.older),
        Phase.RESTORE: (Kind.RAISE, plan.stable),
        Phase.WITHDRAW: (Kind.LOWER, plan.candidate),
        Phase.CLOSE: (Kind.CLOSE, plan.candidate),
        Phase.DRAIN_NEW: (Kind.DRAIN, plan.candidate),
        Phase.DETACH_NEW: (Kind.DETACH, fresh),
        Phase.STOP_NEW: (Kind.STOP, fresh),
    }
    kind, instances = about[phase]
    if not instances or (not plan.judged and kind in {Kind.SMOKE, Kind.VERIFY}):
        return None
    parameters: dict[str, Any] = {"weight": plan.weight} if kind is Kind.RAISE else {}
    return Action(kind=kind, name=phase.value, instances=instances, parameters=parameters)
