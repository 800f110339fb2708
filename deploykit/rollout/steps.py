"""The steps of a rollout, forwards and back, from its plan alone. Pure.

What keeps users safe is the order: the new version is tried before anybody gets it, its weight is raised before that of
the old one is lowered, and what is stopped was drained. On the way back it is the same with the versions exchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploykit.rollout.actions import Action, Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from deploykit.rollout.plan import Plan, Stage

__all__ = ["BOOK_KEEPING", "MUST_HAPPEN", "backward", "forward"]

BOOK_KEEPING = frozenset({Kind.LIVE, Kind.DRAIN, Kind.WARM, Kind.RETIRE})
"""What is done once the version was judged good. Before that, DRAIN alone."""
MUST_HAPPEN = frozenset({Kind.LIVE, Kind.WARM})
"""The ledger says what is live by LIVE, and what stops the old version later is set by WARM."""


def forward(plan: Plan) -> tuple[Action, ...]:
    """The steps of a rollout in which all goes well. Their names are unique: with a number where there are stages."""
    steps: list[Action | None] = []
    given = plan.before
    for number, stage in enumerate(plan.stages, 1):
        end = f"-{number}" if len(plan.stages) > 1 else ""
        steps += _before_traffic(plan, stage, end)
        lowered_first = {} if stage.closed else dict.fromkeys(stage.stop, 0)
        steps += _shift({**given, **lowered_first}, stage, end)
        given = dict(stage.weights)
        if plan.judged:
            about = {
                "stage": number,
                "stages": len(plan.stages),
                "share": stage.share,
                "bake": stage.bake,
                "enough": stage.enough,
                "confirm": stage.confirm,
            }
            steps.append(_step(Kind.VERIFY, f"verify{end}", plan.candidate, about))
        if number == 1 and plan.lease:
            steps.insert(_first_shift(steps), _step(Kind.LEASE, "lease", plan.stable, _lease(plan)))
    steps += [_step(Kind.UNLEASE, "unlease", plan.stable if plan.lease else ())]
    stopped = {name for stage in plan.stages for name in stage.stop}
    left = tuple(name for name in plan.stable if name not in stopped)
    steps += [
        _step(Kind.LIVE, "live", plan.candidate),
        _step(Kind.ROUTES, "clear-routes", plan.candidate if plan.has_routes else (), {"routes": {}}),
        _step(Kind.DRAIN, "drain", left, {"stops": not plan.warm}),
        _step(Kind.WARM, "warm", plan.stable if plan.warm else ()),
        _step(Kind.RETIRE, "retire", plan.older if plan.warm else (*plan.older, *plan.stable)),
    ]
    return _present(steps)


def backward(plan: Plan, begun: int) -> tuple[Action, ...]:
    """The steps that undo a rollout of which the forward steps up to the place `begun` were begun."""
    intended = forward(plan)[: begun + 1]
    kinds = {step.kind for step in intended}
    started = _about(intended, Kind.START)
    fresh = tuple(name for name in plan.candidate if name in started and name not in plan.kept)
    if not plan.stable:
        # Nobody is behind the proxy: half started, it would take connections and let them wait.
        close = _step(Kind.CLOSE, "close", plan.candidate if Kind.EDGE in kinds else ())
        return _present([close, _step(Kind.STOP, "stop-new", fresh)])
    raised = tuple(name for name in plan.candidate if name in _about(intended, Kind.RAISE))
    stopped = tuple(name for name in plan.stable if name in _about(intended, Kind.STOP))
    closed = Kind.MAINTENANCE in kinds
    attached = tuple(name for name in fresh if name in _about(intended, Kind.ATTACH))
    steps: list[Action | None] = []
    if closed and stopped:
        # The app can't run twice: the new one ends first, and nobody gets either meanwhile.
        steps += [_maintenance("close-again", on=True), _step(Kind.STOP, "stop-new", fresh)]
    if stopped:
        steps += [
            _step(kind, f"{kind.value}-old", stopped) for kind in (Kind.START, Kind.HEALTH, Kind.TRUST, Kind.ATTACH)
        ]
    if raised or stopped or Kind.LOWER in kinds:
        steps += [
            _step(Kind.RAISE, "restore", plan.stable, {"weights": plan.before}),
            _step(Kind.LOWER, "withdraw", raised, {"weights": dict.fromkeys(raised, 0)}),
        ]
    if Kind.ROUTES in kinds:
        steps.append(_step(Kind.ROUTES, "unroute", plan.candidate, {"routes": {}}))
    if closed:
        steps.append(_maintenance("reopen", on=False))
    if Kind.LEASE in kinds:
        steps.append(_step(Kind.UNLEASE, "unlease-old", plan.stable))
    if raised and not (closed and stopped):
        steps.append(_step(Kind.DRAIN, "drain-new", raised, {"stops": True}))
    steps.append(_step(Kind.DETACH, "detach-new", attached))
    if not (closed and stopped):
        steps.append(_step(Kind.STOP, "stop-new", fresh))
    return _present(steps)


def _before_traffic(plan: Plan, stage: Stage, end: str) -> list[Action | None]:
    """Up to the moment in which users get a new instance of this stage."""
    closed = [_maintenance(f"maintenance{end}", on=True)] if stage.closed else []
    steps = [*closed, *_stop_old(stage, end)]
    if not stage.start:
        return steps
    kinds = (Kind.START, Kind.HEALTH, *((Kind.SMOKE,) if plan.judged else ()), Kind.TRUST, Kind.EDGE, Kind.ATTACH)
    return [*steps, *(_step(kind, f"{kind.value}{end}", stage.start) for kind in kinds)]


def _stop_old(stage: Stage, end: str) -> list[Action | None]:
    lower = () if stage.closed else stage.stop
    return [
        _step(Kind.LOWER, f"lower-old{end}", lower, {"weights": dict.fromkeys(lower, 0)}),
        _step(Kind.DRAIN, f"drain-old{end}", stage.stop, {"stops": True}),
        _step(Kind.DETACH, f"detach-old{end}", lower),
        _step(Kind.STOP, f"stop-old{end}", stage.stop),
    ]


def _shift(given: Mapping[str, int], stage: Stage, end: str) -> list[Action | None]:
    """From the weights `given` to those of the stage: what grows first."""
    raised = {name: weight for name, weight in stage.weights.items() if weight > given.get(name, 0)}
    lowered = {name: weight for name, weight in stage.weights.items() if weight < given.get(name, 0)}
    # Processes that take no requests have to run as well, when their version gets the traffic.
    with_others = (*raised, *(name for name in stage.start if name not in raised))
    return [
        _step(Kind.RAISE, f"raise{end}", with_others, {"weights": raised}),
        _step(Kind.LOWER, f"lower{end}", tuple(lowered), {"weights": lowered}),
        _maintenance(f"open{end}", on=False) if stage.closed else None,
        _step(Kind.ROUTES, f"routes{end}", tuple(stage.weights) if stage.routes else (), {"routes": stage.routes}),
    ]


def _lease(plan: Plan) -> dict[str, Any]:
    return {"weights": {**dict.fromkeys(plan.stages[0].weights, 0), **plan.before}, "seconds": plan.lease}


def _first_shift(steps: Iterable[Action | None]) -> int:
    return next(place for place, step in enumerate(steps) if step is not None and step.kind is Kind.RAISE)


def _maintenance(name: str, *, on: bool) -> Action:
    return Action(kind=Kind.MAINTENANCE, name=name, parameters={"on": on})


def _step(
    kind: Kind, name: str, instances: Collection[str], parameters: Mapping[str, Any] | None = None
) -> Action | None:
    """None where it is about nobody."""
    if not instances:
        return None
    return Action(kind=kind, name=name, instances=tuple(instances), parameters=parameters or {})


def _about(steps: Iterable[Action], kind: Kind) -> set[str]:
    return {name for step in steps if step.kind is kind for name in step.instances}


def _present(steps: Iterable[Action | None]) -> tuple[Action, ...]:
    return tuple(step for step in steps if step is not None)
