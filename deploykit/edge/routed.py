"""Routes and the maintenance page of one HAProxy: two maps, in the running proxy and in files beside its configuration.

The docstring of `weighted.py` says what is true while they are changed.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import TYPE_CHECKING

from deploykit.edge.accesslog import answers_of, traffic_of
from deploykit.edge.config import USERS
from deploykit.edge.errors import EdgeError, RuntimeUnreachable
from deploykit.edge.maintenance import MAINTENANCE, SWITCH, entries_since, since_of
from deploykit.edge.routes import ROUTES, check_routes, entries_of, has_routes, routes_of
from deploykit.edge.weighted import WeightedProxy
from deploykit.model import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deploykit.edge.accesslog import Line
    from deploykit.edge.interface import Answer, Mark, Traffic
    from deploykit.edge.state import EdgeState

__all__ = ["RoutedProxy"]


class RoutedProxy(WeightedProxy):
    """A weighted proxy with routes, a maintenance page and a log of its answers."""

    @abstractmethod
    def _lines(self, since: Mark) -> tuple[Sequence[Line], Mark]:
        """The log's requests since the mark, and the mark after them."""

    # -- routes --------------------------------------------------------------------------------------------------

    def set_routes(self, routes: Mapping[str, str]) -> None:
        with self._locked():
            self._retry(lambda: self._set_routes(routes))

    def _set_routes(self, routes: Mapping[str, str]) -> None:
        check_routes(routes, self._state().servers)
        self._settle()
        if self._runtime.map_entries(ROUTES) is not None:
            self._set_map(ROUTES, entries_of(routes))
        elif routes:
            raise UsageError(
                "the edge knows no request that could follow a route",
                next_step="set tester_header, tester_cookie or sticky in environments.NAME.rollout, and release again",
            )
        else:
            self._write_map(ROUTES, {})

    def routes(self) -> Mapping[str, str]:
        return self._retry(lambda: routes_of(self._runtime.map_entries(ROUTES) or {}), locked=False)

    def _remove_routes(self, name: str) -> None:
        running = self.running()
        entries = self._runtime.map_entries(ROUTES) if running else None
        known = routes_of(entries if entries is not None else self._read_map(ROUTES))
        others = {key: server for key, server in known.items() if server != name}
        if others == known:
            return
        if entries is not None:
            self._set_map(ROUTES, entries_of(others))
        else:
            self._write_map(ROUTES, entries_of(others))

    # -- maintenance ---------------------------------------------------------------------------------------------

    def set_maintenance(self, *, enabled: bool) -> None:
        with self._locked():
            self._retry(lambda: self._set_maintenance(enabled=enabled))

    def _set_maintenance(self, *, enabled: bool) -> None:
        self._settle()
        entries = self._runtime.map_entries(SWITCH)
        if entries is None:
            raise EdgeError(
                "the edge that runs has no maintenance page", next_step="release again: it is replaced then"
            )
        since = since_of(entries)
        self._set_map(SWITCH, entries_since((since or time.time()) if enabled else None))

    def maintenance_since(self) -> float | None:
        return self._retry(self._maintenance_since, locked=False)

    def _maintenance_since(self) -> float | None:
        entries = self._runtime.map_entries(SWITCH) if self.running() else None
        return since_of(entries if entries is not None else self._read_map(SWITCH))

    # -- the maps ------------------------------------------------------------------------------------------------

    def clear(self) -> None:
        super().clear()
        with self._locked():
            for name in (ROUTES, SWITCH):
                self._write_map(name, {})

    def _keep_maps(self, state: EdgeState) -> None:
        """Have both files there, since a configuration that names one that is missing is refused, with what the proxy
        has if it runs. Routes that no request could follow any more are forgotten.
        """
        running = self.running()
        for name in (ROUTES, SWITCH):
            entries = self._runtime.map_entries(name) if running else None
            if entries is None:
                entries = self._read_map(name)
            if name == ROUTES and not has_routes(state.options):
                entries = {}
            if self._read_file(name) is None or self._read_map(name) != entries:
                self._write_map(name, entries)

    def _set_map(self, name: str, entries: Mapping[str, str]) -> None:
        self._runtime.set_map(name, entries)
        self._write_map(name, entries)
        if self._runtime.map_entries(name) != entries:
            # Started again before the file was written, so it has what was there before.
            raise RuntimeUnreachable(f"HAProxy ended while {name} was changed")

    def _write_map(self, name: str, entries: Mapping[str, str]) -> None:
        self._write_file(name, "".join(f"{key} {value}\n" for key, value in entries.items()))

    def _read_map(self, name: str) -> dict[str, str]:
        entries: dict[str, str] = {}
        for line in (self._read_file(name) or "").splitlines():
            key, space, value = line.partition(" ")
            if not space or not value:
                raise EdgeError(
                    f"{name} beside the edge's configuration is not as deploykit writes it",
                    details=[line],
                    next_step=f"remove {name} from the edge's folder, and release again",
                )
            entries[key] = value
        return entries

    # -- what users got ------------------------------------------------------------------------------------------

    def answers(self, since: Mark) -> tuple[Sequence[Answer], Mark]:
        lines, until = self._lines(since)
        return answers_of(lines, USERS, self._state().releases), until

    def maintenance_answers(self, since: Mark) -> int:
        return sum(line.backend == MAINTENANCE and not line.client_left for line in self._lines(since)[0])

    def traffic(self, release: str, since: Mark) -> Traffic:
        return traffic_of(self.answers(since)[0], release)
