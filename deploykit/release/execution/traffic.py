"""The traffic of one rollout at the edge: weights and routes, the lease on them, the maintenance page."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploykit.edge.errors import LeaseEnded
from deploykit.model.errors import DeploykitError
from deploykit.release.version.instances import release_of
from deploykit.rollout.shares import share_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deploykit.edge.interface import Edge, Mark

__all__ = ["Traffic"]


@dataclass(kw_only=True)
class Traffic:
    """Of the release that gets it. `mark`: since when what users get counts, from the last change on."""

    edge: Edge
    release: str
    environment: str
    clock: Callable[[], float]
    mark: Mark | None = None

    def begin(self) -> str:
        """Have the proxy running; its URL."""
        url = self.edge.ensure()
        # That of a killed canary would take this release's traffic when it ends.
        with contextlib.suppress(LeaseEnded):
            self.edge.end_lease()
        return url

    def share(self, weights: Mapping[str, int]) -> Mapping[str, Any]:
        """Give the servers these weights. The percentage that the release has then, as it is read back; since when."""
        if weights:
            self.mark = self.edge.mark()
            self.edge.set_weights(weights)
        given = {state.server.name: state.weight for state in self.edge.servers()}
        share = share_of([name for name in given if release_of(name) == self.release], given)
        return {"share": round(share, 2), **({"mark": dict(self.mark.value)} if self.mark is not None else {})}

    def route(self, routes: Mapping[str, str]) -> None:
        """Which instance testers get, and the users who are kept on one version."""
        if routes or self.edge.running():
            self.edge.set_routes(routes)

    def lease(self, weights: Mapping[str, int], seconds: float) -> Mapping[str, Any]:
        self.edge.grant_lease(weights, seconds)
        return {"seconds": seconds}

    def unlease(self, *, undoing: bool) -> Mapping[str, Any]:
        """Raises LeaseEnded where the stable version has its traffic back already; while undoing, that is fine."""
        try:
            self.edge.end_lease()
        except LeaseEnded as ended:
            if not undoing:
                raise
            return {"note": ended.message}
        return {}

    def close(self) -> None:
        """Show users the maintenance page."""
        self.edge.ensure()
        self.edge.set_maintenance(enabled=True)

    def reopen(self) -> Mapping[str, Any]:
        """Let users in again. For how long they were not. Raises DeploykitError where nobody would answer them."""
        self.edge.ensure()
        since = self.edge.maintenance_since()
        if since is None:
            return {}
        if not any(state.weight and state.up for state in self.edge.servers()):
            raise DeploykitError(
                "no version answers, so users still get the maintenance page",
                next_step=f"invoke status --env {self.environment}",
            )
        self.mark = self.edge.mark()
        self.edge.set_maintenance(enabled=False)
        seconds = self.clock() - since
        return {"seconds": round(seconds, 3), "note": f"users got the maintenance page for {seconds:.1f} s"}
