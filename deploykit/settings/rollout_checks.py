"""What of a rollout's settings makes no sense together."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from deploykit.settings.mistakes import Mistake

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from deploykit.settings.models import EnvironmentSettings, Settings
    from deploykit.settings.rollout_models import Rollout
    from deploykit.settings.toml_lines import KeyPath

__all__ = ["check_maintenance_page", "check_rollouts"]

_OF_STRATEGY = {
    "steps": "canary",
    "sticky": "canary",
    "tester_header": "canary",
    "tester_cookie": "canary",
    "lease": "canary",
    "max_surge": "rolling",
    "max_unavailable": "rolling",
}
_MOST_STEPS = 20
_ALL_CLIENTS_SEND = frozenset(
    {"accept", "accept-encoding", "accept-language", "connection", "cookie", "host", "referer", "user-agent"}
)
_EDGE_REMOVES = ("x-forwarded-", "x-deploykit-", "x-original-", "x-real-ip", "forwarded")
_PAGE_BYTES = 8_000


def check_rollouts(settings: Settings, wrong: Collection[KeyPath]) -> Iterator[Mistake]:
    """`wrong` are the settings that are known to be wrong: what depends on one of those is not looked at."""
    for name, environment in settings.environments.items():
        path: KeyPath = ("environments", name)
        if (*path, "strategy") in wrong:
            continue
        rollout: KeyPath = (*path, "rollout")
        of_other = [field for field in environment.rollout.model_fields_set if _other_strategy(environment, field)]
        for field in sorted(of_other):
            wanted = _OF_STRATEGY[field]
            yield Mistake(
                path=(*rollout, field),
                what=f"is for the strategy {wanted}, and this environment has {environment.strategy}",
                allowed=f'strategy = "{wanted}", or without it',
            )
        if environment.strategy == "canary":
            if environment.watch and "watch" in environment.model_fields_set:
                what = "is not looked at by a canary, which is judged for the bake time of each step"
                yield Mistake(path=(*path, "watch"), what=what, allowed="bake in rollout.steps, or without it")
            yield from _steps(environment.rollout, rollout)
            yield from _header(environment.rollout, rollout)
        if environment.strategy == "rolling":
            yield from _limits(environment.rollout, environment.replicas or settings.service.replicas, rollout)


def _other_strategy(environment: EnvironmentSettings, field: str) -> bool:
    return field in _OF_STRATEGY and _OF_STRATEGY[field] != environment.strategy


def _steps(rollout: Rollout, path: KeyPath) -> Iterator[Mistake]:
    if "steps" not in rollout.model_fields_set:
        return
    path = (*path, "steps")
    steps = rollout.steps
    rising = "shares that rise, the last one 100"
    if not steps:
        yield Mistake(path=path, what="there is no step in it", allowed=rising)
        return
    if len(steps) > _MOST_STEPS:
        yield Mistake(path=path, what=f"has {len(steps)} steps", allowed=f"at most {_MOST_STEPS}")
    for index, (before, step) in enumerate(pairwise(steps), 1):
        if step.share <= before.share:
            what = f"{step.share:g} is not more than the {before.share:g} of the step before"
            yield Mistake(path=(*path, index, "share"), what=what, allowed=rising)
    if steps[-1].share < 100 and steps[-1].share == max(step.share for step in steps):
        what = f"the last step has {steps[-1].share:g} %, so the rest of the users would never get the version"
        yield Mistake(path=(*path, len(steps) - 1, "share"), what=what, allowed=rising)


def _header(rollout: Rollout, path: KeyPath) -> Iterator[Mistake]:
    header = rollout.tester_header
    own = 'a header of your own, such as "X-Tester"'
    if header.lower() in _ALL_CLIENTS_SEND or header.lower().startswith("content-"):
        what = f"every client sends {header}, so every user would be a tester"
        yield Mistake(path=(*path, "tester_header"), what=what, allowed=own)
    elif header.lower().replace("_", "-").startswith(_EDGE_REMOVES):
        what = f"the edge removes what clients send as {header}"
        yield Mistake(path=(*path, "tester_header"), what=what, allowed=own)


def _limits(rollout: Rollout, replicas: int, path: KeyPath) -> Iterator[Mistake]:
    surge, unavailable = rollout.max_surge, rollout.max_unavailable
    path = (*path, "max_surge")
    if math.ceil(_part(surge, replicas)) > 0:
        return
    if replicas == 1:
        what = "is 0, and the only instance can't be stopped before there is another one"
        yield Mistake(path=path, what=what, allowed='1 or more, or strategy = "recreate"')
    elif math.floor(_part(unavailable, replicas)) == 0:
        none = f"of {replicas} instances {surge} and {unavailable} are 0"
        what = f"with max_unavailable no instance may be added and none may be missing: {none}"
        yield Mistake(path=path, what=what, allowed='1 or more for one of the two, or strategy = "recreate"')


def _part(count: int | str, replicas: int) -> float:
    return count if isinstance(count, int) else int(count.rstrip("%")) * replicas / 100


def check_maintenance_page(settings: Settings, root: Path) -> Iterator[Mistake]:
    """It is read by a release, and sent to users."""
    name = settings.edge.maintenance_page
    if not name:
        return
    path: KeyPath = ("edge", "maintenance_page")
    file = (root / name).resolve()
    if not file.is_relative_to(root.resolve()):
        yield Mistake(
            path=path, what=f'"{name}" is not a file of the tree', allowed='a file such as "maintenance.html"'
        )
    elif not file.is_file():
        yield Mistake(path=path, what=f'there is no file "{name}" in {root}')
    elif (size := file.stat().st_size) > _PAGE_BYTES:
        yield Mistake(path=path, what=f'"{name}" has {size:,} bytes', allowed=f"at most {_PAGE_BYTES:,}")
    elif not _is_text(file.read_bytes()):
        yield Mistake(path=path, what=f'"{name}" is not text in UTF-8')
    elif not size:
        yield Mistake(path=path, what=f'"{name}" is empty')


def _is_text(content: bytes) -> bool:
    try:
        return "\0" not in content.decode("utf-8")
    except UnicodeDecodeError:
        return False
