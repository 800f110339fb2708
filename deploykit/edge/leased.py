"""A proxy whose shared traffic ends with the kit that judges it: `RoutedProxy` with a lease.

The lease is kept by somebody who outlives the kit (`lease.py`). From its end on the keeper brings the proxy and its
file to the stable weights again and again, until a command of the kit takes over: by `end_lease`, or by weights that
give nothing to the servers that lost their traffic. So nothing that comes late can bring the canary back for longer
than a second: a kit that slept between two of its writes, or a proxy that was started with the file of before.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from deploykit.edge.errors import EdgeError, LeaseEnded
from deploykit.edge.interface import Lease
from deploykit.edge.lease import Restoration, ended, gives_back, weight_batches, weights_after
from deploykit.edge.routed import RoutedProxy
from deploykit.edge.routes import ROUTES, has_routes
from deploykit.edge.weighted import MAX_WEIGHT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deploykit.edge.lease import KeptLease, LeaseKeeper
    from deploykit.edge.state import EdgeState

__all__ = ["LeasedProxy"]


class LeasedProxy(RoutedProxy):
    """Subclasses give a keeper, and how the file is rendered and written."""

    _keeper: LeaseKeeper
    _granted: str = ""
    """The id of the lease that this command was granted last."""

    @abstractmethod
    def _render(self, state: EdgeState) -> str:
        """The file's text."""

    @abstractmethod
    def _write_text(self, text: str) -> None:
        """Write the file; it is on the disk when this returns."""

    @abstractmethod
    def _kept(self, name: str) -> str:
        """The keeper's name of that file in the edge's folder; empty: of its configuration."""

    # -- the lease -------------------------------------------------------------------------------------------------

    def grant_lease(self, weights: Mapping[str, int], seconds: float) -> None:
        if any(not 0 <= weight <= MAX_WEIGHT for weight in weights.values()):
            raise ValueError(f"a weight is 0 to {MAX_WEIGHT}: {dict(weights)}")
        if not any(weights.values()):
            raise ValueError("the total weight would be 0 when the lease ends: nobody would get an answer")
        if seconds <= 0:
            raise ValueError(f"a lease is longer than {seconds:g} s")
        with self._locked():
            self._retry(lambda: self._grant(weights, seconds))

    def _grant(self, weights: Mapping[str, int], seconds: float) -> None:
        import secrets  # 20 ms, and only for a release that shares traffic

        state = self._state()
        if unknown := sorted(set(weights) - set(state.servers)):
            raise EdgeError(f"the edge has no server {', '.join(unknown)}", next_step="attach it first")
        self._settle()
        for name in set(weights) - set(self._runtime.servers()):
            self._runtime.add(state.servers[name].server)
        self._granted = secrets.token_hex(8)
        self._keeper.grant(self._granted, seconds, self._restoration(state, weights))

    def renew_lease(self) -> None:
        # Not under the lock for changes: a change that takes long must not keep the lease from being renewed.
        lease = self._keeper.renew(self._granted)
        if lease is None:
            raise EdgeError("there is no lease to renew", next_step="see what users get now: invoke status")
        if self._granted and lease.id != self._granted:
            raise LeaseEnded(
                "another release shares the traffic now, so this one's lease has ended", next_step="invoke status"
            )
        if lease.ended_at is not None:
            raise ended(lease)

    def end_lease(self) -> None:
        with self._locked():
            lease = self._keeper.end()
            if lease is None or lease.ended_at is None:
                return
            if lease.holds:
                self._restore(lease)
            self._keeper.forget()
        raise ended(lease)

    def lease(self) -> Lease | None:
        lease = self._keeper.read()
        if lease is None:
            return None
        return Lease(ends_at=lease.ends_at, seconds=lease.seconds, ended_at=lease.ended_at)

    # -- what is prepared, and done at the end -----------------------------------------------------------------------

    def _restoration(self, state: EdgeState, weights: Mapping[str, int]) -> Restoration:
        """All that is done at the end of a lease. What else a release changes at the edge belongs here, too."""
        after = weights_after(state, weights)
        maps = (ROUTES,) if has_routes(state.options) else ()
        return Restoration(
            weights=weights,
            batches=weight_batches(after, cleared=maps),
            files=((self._kept(""), self._render(after)), *((self._kept(name), "") for name in maps)),
        )

    def _restore(self, lease: KeptLease) -> None:
        """Do it now, so that the keeper can be told to stop. A proxy that is down finds it in its file."""
        state = self._state()
        self._write(state)
        if has_routes(state.options):
            self._write_map(ROUTES, {})
        if self._is_supervised():
            self._retry(lambda: self._restore_running(lease))

    def _restore_running(self, lease: KeptLease) -> None:
        self._settle()
        after = {name: lease.weights.get(name, 0) for name in self._runtime.servers()}
        self._runtime.set_weights({name: weight for name, weight in after.items() if weight})
        self._runtime.set_weights({name: weight for name, weight in after.items() if not weight})
        if self._runtime.map_entries(ROUTES):
            self._runtime.set_map(ROUTES, {})

    # -- changes while there is a lease ------------------------------------------------------------------------------

    def _write(self, state: EdgeState) -> None:
        lease = self._keeper.read()
        if lease is not None and lease.holds:
            kept = {name: weight for name, weight in lease.weights.items() if name in state.servers}
            if any(kept.values()):
                self._keeper.prepare(self._restoration(state, kept))
                if lease.ended_at is not None:
                    state = weights_after(state, kept)
            else:  # all servers are forgotten
                self._keeper.forget()
        self._write_text(self._render(state))

    def _set_weights(self, weights: Mapping[str, int]) -> None:
        lease = self._keeper.read()
        if lease is not None and lease.holds and lease.ended_at is not None:
            if gives_back(lease, weights):
                raise ended(lease)
            self._restore(lease)
            self._keeper.take_over()
        super()._set_weights(weights)

    def _detach(self, name: str, *, force: bool) -> None:
        lease = self._keeper.read()
        if lease is not None and lease.holds and lease.weights.get(name):
            raise EdgeError(
                f"{name} gets the traffic back when the release's lease ends, so it is not taken from the edge",
                next_step="finish the release that shares the traffic, or undo it: invoke release --resume or rollback",
            )
        super()._detach(name, force=force)
