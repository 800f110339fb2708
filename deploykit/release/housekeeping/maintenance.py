"""`invoke maintenance.on` and `.off`: a page for users while no version may serve them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploykit.model import UsageError
from deploykit.release.environment.owner import actor
from deploykit.release.environment.trust import verified_lock
from deploykit.release.reporting.text import ago, clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploykit.release.environment import Environment

__all__ = ["Switched", "set_maintenance"]


@dataclass(frozen=True, kw_only=True)
class Switched:
    """Whether users get the page now, and what came of the command. `seconds`: for so long they got it; None while they
    do.
    """

    environment: str
    enabled: bool
    changed: bool
    since: float | None
    seconds: float | None

    @property
    def sentence(self) -> str:
        if self.enabled and self.since is not None:
            began = "from now on" if self.changed else f"since {clock(self.since)} already"
            return f"users of {self.environment} get the maintenance page {began}"
        if self.seconds is None:
            return f"users of {self.environment} get the app: maintenance is not on"
        return f"users of {self.environment} get the app again, after {ago(self.seconds, suffix='')} of maintenance"

    @property
    def next_step(self) -> str:
        return f"invoke {'maintenance.off' if self.enabled else 'status'} --env {self.environment}"

    def as_json(self) -> dict[str, Any]:
        return {
            "outcome": "done",
            "environment": self.environment,
            "maintenance": self.enabled,
            "changed": self.changed,
            "since": self.since,
            "seconds": self.seconds,
            "next_step": self.next_step,
        }


def set_maintenance(
    environment: Environment, *, enabled: bool, warn: Callable[[str], None] = lambda _text: None
) -> Switched:
    """Show the page or the app, under the environment's lock; the ledger keeps who did, and for how long.

    What is so already is left alone. Raises UsageError where the edge does not run, and where the app would be shown
    and nothing of it takes requests; otherwise as `verified_lock` does.
    """
    name, edge, ledger = environment.name, environment.edge, environment.ledger
    with verified_lock(environment, f"maintenance {'on' if enabled else 'off'}", warn=warn):
        if not edge.running():
            raise UsageError(
                f"the edge of {name} does not run, so users get no page of it", next_step=f"invoke release --env {name}"
            )
        since = edge.maintenance_since()
        if enabled == (since is not None):
            return Switched(environment=name, enabled=enabled, changed=False, since=since, seconds=None)
        if since is None:
            ledger.record_maintenance(actor(), enabled=True)
            edge.set_maintenance(enabled=True)
            return Switched(
                environment=name,
                enabled=True,
                changed=True,
                since=edge.maintenance_since() or time.time(),
                seconds=None,
            )
        if not any(state.weight and state.up for state in edge.servers()):
            raise UsageError(
                f"no version takes requests in {name}, so users would get errors in place of the page",
                next_step=f"invoke status --env {name}",
            )
        edge.set_maintenance(enabled=False)
        seconds = max(time.time() - since, 0.0)
        ledger.record_maintenance(actor(), enabled=False, seconds=seconds)
        return Switched(environment=name, enabled=False, changed=True, since=None, seconds=seconds)
