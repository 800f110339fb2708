"""HAProxy in containers, reached through a published port: works wherever an engine does.

Two containers can't publish one port. So the port belongs to a small container of its own, the holder, which is never
replaced. It opens the listening socket and accepts no connection from it. The proxies receive that socket from it
(HAProxy's `-x`, a Unix socket on the shared volume). Each runs in a container of its own on the app's network:

- Other settings, or another image: a new proxy receives the socket and answers, then the old one drains and exits. At
  every moment there is a socket and a proxy that accepts from it.
- `kill -9` of a proxy: new connections wait in the socket's queue until the engine has restarted it.
- Restart of the holder: the proxies detect it within a second and are restarted by the engine, with the new socket.

Measurements and alternatives: `docs/decisions/0003-the-edge-on-docker.md`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import TYPE_CHECKING

from deploykit.edge.accesslog import parse_line
from deploykit.edge.config import ConfigOptions, render
from deploykit.edge.docker.agent import Agent, AgentRuntime
from deploykit.edge.docker.containers import EdgeContainers, Proxy
from deploykit.edge.docker.files import BIND, WATCH
from deploykit.edge.docker.lease import ContainerLease
from deploykit.edge.errors import EdgeError, PortTaken
from deploykit.edge.interface import Mark
from deploykit.edge.leased import LeasedProxy
from deploykit.edge.ports import check_free, preferred_port
from deploykit.model import DeploykitError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from deploykit.edge.accesslog import Line
    from deploykit.edge.interface import EdgeOptions
    from deploykit.edge.state import EdgeState
    from deploykit.process.docker import Engine

__all__ = ["DEFAULT_IMAGE", "DockerEdge"]

DEFAULT_IMAGE = "haproxy:lts"
_FILE = "haproxy.cfg"
_READY_SECONDS = 20.0
_NOBODY = 65_534
_DESCRIPTORS = 20_200
"""At most, for 10,000 connections; fewer where the engine allows fewer. Some engines allow a thousand million."""


class DockerEdge(LeasedProxy):
    """Implements `deploykit.edge.interface.Edge`.

    `folder` holds a lock file of this machine only (`StatePaths.edge`): the state is on the engine, in a volume.
    `network` is the app's network, which has to be there before `ensure`. The port is published on `bind` of the
    engine's machine. The others: `WeightedProxy`.
    """

    name = "haproxy-docker"
    _file_name = f"the edge's {_FILE}"
    _runtime: AgentRuntime
    _open_files: Agent | None = None

    def __init__(  # noqa: PLR0913 - where it lives, what it runs, how it is reached; by keyword
        self,
        app: str,
        environment: str,
        folder: Path,
        port: int | None,
        engine: Engine,
        *,
        network: str,
        image: str = "",
        options: EdgeOptions | None = None,
        bind: str = "127.0.0.1",
        hard_stop_after: float = 900.0,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(
            app,
            environment,
            folder,
            port,
            options=options,
            bind=bind,
            hard_stop_after=hard_stop_after,
            wait=wait,
        )
        self._engine = engine
        self._containers = EdgeContainers(
            engine, app, environment, network=network, image=image or DEFAULT_IMAGE, bind=bind
        )
        self._agent = Agent(engine, lambda: self._containers.holder)
        self._runtime = AgentRuntime(self._agent)
        self._keeper = ContainerLease(self._agent, self._holder_runs, self._files, self._containers.has_volume, wait)

    # -- what runs -----------------------------------------------------------------------------------------------

    def _ensure(self) -> EdgeState:
        state = self._state()
        published = self._containers.published()
        if published is not None and published != (self._bind, state.port):
            # The settings name another port, so the old one has to be closed.
            self._down()
            published = None
        if published is None:
            # Where the holder runs, it is in the network, which can't be taken away from under it.
            if (missing := self._containers.missing_network()) is not None:
                raise missing
            state = self._start(state)
        elif not any(proxy.running for proxy in self._containers.proxies()):
            self._start_proxy(state)
        else:
            current = self._await_ready()
            self._keep_maps(state)
            wanted = self._render(self._with_running_weights(state))
            if wanted != self._agent.read(_FILE) or current.image != self._containers.image_id:
                self._replace()
        return state

    def preflight(self) -> Sequence[Problem]:
        if (error := self._engine.problem()) is not None:
            return [Problem(error.message, error.next_step)]
        try:
            port = self._wanted_port
            if port is not None and self._engine.shares_our_network and not self._holder_runs():
                check_free(self._bind, port, setting=f"environments.{self._environment}.port")
        except DeploykitError as problem:
            return [Problem(problem.message, problem.next_step)]
        return []

    def running(self) -> bool:
        return self._holder_runs() and bool(self._runtime.node())

    def close(self) -> None:
        """Let go of the connection to the edge's container."""
        self._agent.close()

    def _holder_runs(self) -> bool:
        # Asked many times in a release; what answers in the holder knows sooner than the engine does.
        return self._agent.is_connected() or self._containers.published() is not None

    def _down(self) -> None:
        self._agent.close()
        self._containers.remove_all()

    # -- traffic -------------------------------------------------------------------------------------------------

    def mark(self, *, seconds_ago: float = 0.0) -> Mark:
        mark = Mark({"time_ms": self._agent.now_ms() - int(seconds_ago * 1000)})
        time.sleep(0.002)  # what comes after this call is logged with a later millisecond
        return mark

    def _lines(self, since: Mark) -> tuple[Sequence[Line], Mark]:
        """The mark after them names, for each container, the engine's time of the last line that was read: the engine
        takes the lines one after the other, so none that comes later has an earlier one.
        """
        until = dict(since.value)
        began = until["time_ms"]
        lines: list[Line] = []
        for proxy in self._containers.proxies():
            seen_ns = until.get(proxy.id, 0)
            for time_ns, text in self._containers.log(proxy.id, max(began * 1_000_000, seen_ns)):
                if time_ns > seen_ns:
                    until[proxy.id] = time_ns
                    if (line := parse_line(text)) is not None and line.time_ms > began:
                        lines.append(line)
        return lines, Mark(until)

    # -- the file ------------------------------------------------------------------------------------------------

    def _read(self) -> str | None:
        return self._read_file(_FILE)

    def _read_file(self, name: str) -> str | None:
        if not self._holder_runs() and not self._containers.has_volume():
            return None
        with self._files() as agent:
            return agent.read(name)

    def _first_port(self) -> int:
        return preferred_port(f"{self._app}/{self._environment}")

    def _render(self, state: EdgeState) -> str:
        return render(state, self._options(), bind=BIND)

    def _write(self, state: EdgeState) -> None:
        with self._files():  # once for all that is read and written
            super()._write(state)

    def _kept(self, name: str) -> str:
        return name or _FILE

    def _write_text(self, text: str) -> None:
        self._write_file(_FILE, text)

    def _write_file(self, name: str, text: str) -> None:
        with self._files() as agent:
            agent.write(name, text)

    @contextlib.contextmanager
    def _files(self) -> Iterator[Agent]:
        """Who reads and writes the edge's files: in the holder, or in a container for this moment."""
        if self._open_files is not None or self._holder_runs():
            yield self._open_files or self._agent
            return
        with (
            self._containers.for_files() as container,
            contextlib.closing(Agent(self._engine, lambda: container)) as agent,
        ):
            self._open_files = agent
            try:
                yield agent
            finally:
                self._open_files = None

    def _options(self) -> ConfigOptions:
        return ConfigOptions(
            app=self._app,
            environment=self._environment,
            maxconn=None,
            threads=2,
            hard_stop_after=self._hard_stop_after,
            identity=(_NOBODY, _NOBODY),
            handover="mode 666",  # its folder is a volume of the edge's containers, which may not change owners
            more=(f"fd-hard-limit {_DESCRIPTORS}", f"lua-load {WATCH}"),
        )

    # -- the containers ------------------------------------------------------------------------------------------

    def _start(self, state: EdgeState) -> EdgeState:
        """Start holder and proxy. A port that was found by us, and that nobody was ever served on, may change."""
        self._agent.close()
        self._containers.remove_all()
        free_to_choose = self._wanted_port is None and not state.servers and not state.past
        for attempt in range(1, 21):
            try:
                self._containers.start_holder(state.port)
                break
            except PortTaken:
                if not free_to_choose or attempt == 20:
                    raise
                state = dataclasses.replace(state, port=preferred_port(f"{self._app}/{self._environment}", attempt))
        try:
            self._start_proxy(state)
        except BaseException:
            self._down()
            raise
        return state

    def _start_proxy(self, state: EdgeState) -> None:
        self._keep_maps(state)
        self._check(self._render(state))
        self._write(state)
        self._await_ready(self._containers.start_proxy())

    def _replace(self) -> None:
        state = self._with_running_weights(self._state())
        before = self._agent.read(_FILE)
        self._check(self._render(state))
        self._write(state)
        new = self._containers.start_proxy([name for name, weight in state.weights.items() if weight])
        try:
            self._await_ready(new)
        except BaseException:
            # Another image may refuse what the old one likes: that one goes on, and finds its own file again.
            self._engine.remove_container(new.id)
            if before is not None:
                self._write_text(before)
            raise
        self._containers.prune()

    def _check(self, text: str) -> None:
        self._agent.write("check.cfg", text)
        self._containers.check("check.cfg")

    def _settle(self) -> None:
        if not self._holder_runs():
            raise EdgeError("the edge does not run", next_step="release again: it is started then")
        self._await_ready()

    def _is_supervised(self) -> bool:
        return self._holder_runs() and any(proxy.running for proxy in self._containers.proxies())

    def _await_ready(self, wanted: Proxy | None = None) -> Proxy:
        """Wait until the newest proxy answers, then ask all others to finish and end.

        Raises EdgeError when it does not come up; one that was not `wanted` by the caller is removed for an older one.
        """
        deadline = time.monotonic() + _READY_SECONDS
        before: dict[str, int] = {}
        while True:
            running = [proxy for proxy in self._containers.proxies() if proxy.running]
            newest = running[-1] if running else None
            if newest is not None and self._runtime.node() == newest.node:
                for proxy in running[:-1]:
                    self._soft_stop(proxy)
                return newest
            gone = newest is None or (wanted is not None and newest.id != wanted.id)
            if gone or time.monotonic() > deadline or (newest is not None and self._crashes(newest, before)):
                if newest is None or wanted is not None or len(running) == 1:
                    failed = wanted or newest
                    break
                # Left behind by a kit that was killed while it tried another image, say.
                self._engine.remove_container(newest.id)
                deadline = time.monotonic() + _READY_SECONDS
            self._wait(0.01)
        failed_id = failed.id if failed is not None else self._containers.holder
        raise EdgeError(
            "HAProxy did not start",
            details=self._containers.last_lines(failed_id),
            next_step=f"docker logs {failed_id[:12] if failed is not None else failed_id}",
        )

    def _crashes(self, proxy: Proxy, before: dict[str, int]) -> bool:
        """Whether the engine had to start it again twice while it was waited for: it will not come up.

        `before` has the count at the first look: in the months that a proxy lives it may have been killed now and then.
        """
        found = self._engine.find_container(proxy.id)
        return found is None or found["RestartCount"] >= before.setdefault(proxy.id, found["RestartCount"]) + 2

    def _soft_stop(self, proxy: Proxy) -> None:
        found = self._engine.find_container(proxy.id)
        if found is not None and found["HostConfig"]["RestartPolicy"]["Name"] != "no":
            self._containers.soft_stop(proxy)

    def _draining_servers(self) -> Collection[str]:
        running = [proxy for proxy in self._containers.proxies() if proxy.running]
        return running[-1].draining_servers if len(running) > 1 else frozenset()
