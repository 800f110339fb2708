"""Plans of rollouts for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploykit.rollout import Members, Plan, Strategy, make_stages

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["plan_of"]


def plan_of(
    candidate: Sequence[str], stable: Sequence[str] = (), strategy: Strategy | None = None, **others: Any
) -> Plan:
    """Blue-green, unless there is a strategy. All instances take requests; `others`: further fields of the plan."""
    strategy = strategy or Strategy()
    members = Members(candidate=tuple(candidate), stable=tuple(stable))
    first = {"warm": strategy.name in {"blue-green", "canary"}, "lease": 60.0 if strategy.name == "canary" else 0.0}
    return Plan(
        candidate=tuple(candidate),
        stable=tuple(stable),
        stages=make_stages(strategy, members, 10),
        **({**first, **others} if stable else others),
    )
