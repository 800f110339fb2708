"""The strategies: each is a function from the instances to an ordered list of stages. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.rollout.plan import Stage
from deploykit.rollout.shares import FULL_WEIGHT, routes, weights

if TYPE_CHECKING:
    from deploykit.rollout.strategy import Strategy

__all__ = ["Members", "make_stages"]

_ENOUGH = 200
"""So many requests of users are judged without waiting for more, where all of them or a batch get the new version."""


@dataclass(frozen=True, kw_only=True)
class Members:
    """The instances of a rollout. `candidate` and `stable` take requests. `others` and `stable_others` are processes
    that take none: the new version's start with its first instances, and the old one's end when it has no traffic.
    """

    candidate: tuple[str, ...]
    stable: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    stable_others: tuple[str, ...] = ()


def make_stages(strategy: Strategy, members: Members, watch: float) -> tuple[Stage, ...]:
    """The stages of a release. `watch`: seconds for which users' requests are watched, for strategies whose steps do
    not say it.

    The first version has nobody to take over from: all users get it at once.
    """
    if not members.stable:
        return _blue_green(members, watch)
    match strategy.name:
        case "blue-green":
            return _blue_green(members, watch)
        case "recreate":
            return _recreate(members, watch)
        case "rolling":
            return _rolling(strategy, members, watch)
        case "canary":
            return _canary(strategy, members)


def _blue_green(members: Members, watch: float) -> tuple[Stage, ...]:
    """All of the new version beside the old one, then all users at once."""
    return (
        Stage(
            share=100,
            start=(*members.candidate, *members.others),
            weights=weights(100, members.candidate, members.stable),
            bake=watch,
            enough=_ENOUGH,
        ),
    )


def _recreate(members: Members, watch: float) -> tuple[Stage, ...]:
    """The old version ends before the new one starts. Users see the maintenance page meanwhile."""
    return (
        Stage(
            share=100,
            closed=True,
            stop=(*members.stable, *members.stable_others),
            start=(*members.candidate, *members.others),
            weights=weights(100, members.candidate, members.stable),
            bake=watch,
            enough=_ENOUGH,
        ),
    )


def _canary(strategy: Strategy, members: Members) -> tuple[Stage, ...]:
    """All of the new version beside the old one, and users step by step."""
    testers = bool(strategy.tester_header or strategy.tester_cookie)
    return tuple(
        Stage(
            share=step.share,
            start=() if place else (*members.candidate, *members.others),
            weights=weights(step.share, members.candidate, members.stable),
            routes=routes(step.share, members.candidate, members.stable, sticky=strategy.sticky, testers=testers),
            bake=step.bake,
            confirm=step.confirm,
        )
        for place, step in enumerate(strategy.steps)
    )


def _rolling(strategy: Strategy, members: Members, watch: float) -> tuple[Stage, ...]:
    """Batch by batch, each judged before the next.

    At most `max_surge` instances more than wanted run at a time, and at most `max_unavailable` fewer, as of a
    Deployment in Kubernetes. The last old instances go on until the rollout is over: they are what an abort needs.
    """
    new, old = list(members.candidate), list(members.stable)
    wanted = len(new)
    most = wanted + _part(strategy.max_surge, wanted, up=True)
    least = wanted - _part(strategy.max_unavailable, wanted, up=False)
    stages: list[Stage] = []
    running: list[str] = []
    while new:
        # Somebody has to have the traffic while the first new ones start.
        can_stop = len(old) - (0 if running else 1)
        stop = min(max(len(old) + len(running) - least, 0), can_stop)
        batch = min(len(new), most - (len(old) - stop) - len(running))
        if batch < 1:
            raise ValueError(f"with {wanted} instances, neither one more nor one less is allowed")
        stopped, old = old[:stop], old[stop:]
        started, new = new[:batch], new[batch:]
        running += started
        last = not new
        stages.append(
            Stage(
                share=100 if last else 100 * len(running) / (len(running) + len(old)),
                start=(*started, *(() if stages else members.others)),
                stop=tuple(stopped),
                weights={**dict.fromkeys(running, FULL_WEIGHT), **dict.fromkeys(old, 0 if last else FULL_WEIGHT)},
                bake=watch,
                enough=_ENOUGH,
            )
        )
    return tuple(stages)


def _part(count: int | str, of: int, *, up: bool) -> int:
    """`count` itself, or so many percent of `of`: of the surge the next more, of what may be missing the next less."""
    if isinstance(count, int):
        return count
    part = float(count.rstrip("%")) * of / 100
    return math.ceil(part) if up else math.floor(part)
