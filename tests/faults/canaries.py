"""What the tests of canaries share: their settings, and a release that goes on while a test looks at it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from harness import KEPT_WARM, Ran, ReleasedService
from watching import edge_of, share_of_newest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LONG", "canary", "is_judged", "process_of", "releasing", "share", "weights"]

LONG = "60s"
"""A bake time that no test waits for."""


def canary(released: ReleasedService, *steps: dict[str, Any], **more: Any) -> None:
    """Settings; `more` are those of the rollout, and `smoke` and `thresholds`."""
    others = {name: more.pop(name) for name in ("smoke", "thresholds") if name in more}
    rollout = {"steps": [*steps, {"share": 100}], **more}
    released.settings(warm_for=KEPT_WARM, strategy="canary", rollout=rollout, **others)


def weights(released: ReleasedService) -> dict[str, int]:
    """Of all servers, read from the edge."""
    if released.target == "docker":
        return {item["name"]: item["weight"] or 0 for item in released.instances()}
    return {each.server.name: each.weight for each in edge_of(released).servers()}


def share(released: ReleasedService) -> float:
    return share_of_newest(weights(released))


@contextlib.contextmanager
def releasing(released: ReleasedService, *argv: str) -> Iterator[Future[Ran]]:
    """A release while the block runs; what is left of it then is ended."""
    with ThreadPoolExecutor(1) as pool:
        ran = pool.submit(released, "release", *argv)
        try:
            yield ran
            ran.result()
        except BaseException:
            if ran.done():
                print(ran.result().output)
            else:
                os.kill(process_of(released), signal.SIGTERM)
            raise


def process_of(released: ReleasedService) -> int:
    """The process that holds the environment's lock."""
    found = re.search(r"\(pid (\d+)", released.status()["lock"])
    assert found is not None
    return int(found[1])


def is_judged(released: ReleasedService, stage: int = 1) -> bool:
    """Whether the stage is being judged."""
    rollout = released.status()["rollout"]
    return rollout is not None and rollout["stage"] == stage and rollout["doing"] == "it is judged"
