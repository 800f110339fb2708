"""The edge's containers: one holder, which publishes the port, and the proxies, of which one is current."""

from __future__ import annotations

import contextlib
import shlex
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from deploykit.edge.docker.agent import FOLDER
from deploykit.edge.docker.files import BIND, HOLD_CONFIG, HOLD_SOCKET, tar_of_files
from deploykit.edge.errors import EdgeError, PortTaken
from deploykit.model import UsageError
from deploykit.process.docker import Engine, EngineError, HostOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


__all__ = ["EdgeContainers", "Proxy"]

_GENERATION = "deploykit.generation"
_ROLE = "deploykit.edge"
_DRAINING = "deploykit.draining"
_INNER_PORT = int(BIND.rpartition(":")[2])
_KEPT_ENDED = 3
_LINES_AT_ONCE = 4_000
_TAKEN = ("port is already allocated", "address already in use", "Ports are not available")


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """A proxy's container. `draining_servers` are the servers that had weight in the one that it replaced."""

    id: str
    generation: int
    running: bool
    image: str
    draining_servers: frozenset[str]

    @property
    def node(self) -> str:
        """Its host name, by which HAProxy says who it is."""
        return self.id[:12]


class EdgeContainers:
    """Those of one app in one environment, on `network`, with the published `bind` address."""

    def __init__(self, engine: Engine, app: str, environment: str, *, network: str, image: str, bind: str) -> None:
        self._engine = engine
        self._labels = {"deploykit.app": app, "deploykit.environment": environment, "deploykit.kind": "edge"}
        self._name = f"{app}.{environment}.edge"
        self._setting = f"environments.{environment}.port"
        self._network = network
        self._image = image
        self._bind = bind

    # ---- what is there

    @property
    def holder(self) -> str:
        """The holder's name."""
        return self._name

    def published(self) -> tuple[str, int] | None:
        """The address and the port that the holder publishes, None when it does not run."""
        found = self._engine.find_container(self._name)
        if found is None or not found["State"]["Running"]:
            return None
        (bound,) = found["HostConfig"]["PortBindings"][f"{_INNER_PORT}/tcp"]
        return str(bound["HostIp"]), int(bound["HostPort"])

    def proxies(self) -> Sequence[Proxy]:
        """Oldest first, ended ones included."""
        found = self._engine.containers({**self._labels, _ROLE: "proxy"})
        proxies = [
            Proxy(
                id=each["Id"],
                generation=int(each["Labels"][_GENERATION]),
                running=each["State"] in {"running", "restarting", "paused"},
                image=each["ImageID"],
                draining_servers=frozenset(each["Labels"][_DRAINING].split()),
            )
            for each in found
        ]
        return sorted(proxies, key=lambda proxy: proxy.generation)

    def has_volume(self) -> bool:
        return self._engine.find_volume(self._name) is not None

    @cached_property
    def image_id(self) -> str:
        """The id that the image of the settings has for this command; it is pulled if the engine does not have it."""
        found = self._engine.find_image(self._image)
        if found is None:
            try:
                found = self._engine.pull(self._image)
            except EngineError as error:
                raise UsageError(
                    f"the edge's image {self._image} is not on the engine and can't be pulled",
                    details=(error.message,),
                    next_step=f"docker pull {shlex.quote(self._image)}, or set another image for the edge",
                ) from None
        return str(found["Id"])

    # ---- what is made

    def start_holder(self, port: int) -> None:
        """Raises PortTaken, and leaves nothing behind then."""
        self._engine.remove_container(self._name)
        made = self._create(
            self._name,
            ["haproxy", "-db", "-f", HOLD_CONFIG],
            {_ROLE: "holder"},
            host={"port_bindings": {_INNER_PORT: (self._bind, port)}},
        )
        try:
            self._engine.start(made)
        except EngineError as error:
            self._engine.remove_container(made)
            if any(words in error.message for words in _TAKEN):
                raise PortTaken(
                    f"port {port} is taken",
                    details=(error.message,),
                    next_step=f"end that program, or set another {self._setting} in pyproject.toml",
                ) from None
            raise

    def start_proxy(self, draining_servers: Sequence[str] = ()) -> Proxy:
        """One more proxy, which takes the holder's socket too. Whether it answers is to be waited for."""
        generation = max((proxy.generation for proxy in self.proxies()), default=0) + 1
        made = self._create(
            f"{self._name}.{generation}",
            ["haproxy", "-db", "-x", HOLD_SOCKET, "-f", f"{FOLDER}/haproxy.cfg"],
            {_ROLE: "proxy", _GENERATION: str(generation), _DRAINING: " ".join(draining_servers)},
            host={},
        )
        self._engine.start(made)
        return next(proxy for proxy in self.proxies() if proxy.id == made)

    @contextlib.contextmanager
    def for_files(self) -> Any:
        """A container that does nothing, to reach the volume while the edge is down; gone afterwards. It needs no
        network, which may be gone with the edge.
        """
        name = f"{self._name}.files"
        self._engine.remove_container(name)
        made = self._create(
            name, ["sleep", "60"], {_ROLE: "files"}, network="none", host={"restart_policy": {"Name": "no"}}
        )
        try:
            self._engine.start(made)
            yield made
        finally:
            self._engine.remove_container(made)

    def _create(
        self,
        name: str,
        argv: Sequence[str],
        labels: Mapping[str, str],
        *,
        host: HostOptions,
        network: str = "",
    ) -> str:
        volume = self._name
        self._engine.create_volume(volume, labels=self._labels)
        made = self._engine.create_container(
            self.image_id,
            list(argv[1:]),
            name=name,
            entrypoint=[argv[0]],
            user="0:0",
            working_dir=FOLDER,
            labels={**self._labels, **labels},
            stop_signal="SIGUSR1",
            network=network or self._network,
            host={
                "restart_policy": {"Name": "unless-stopped"},
                "binds": [f"{volume}:{FOLDER}"],
                "log_config": {"Type": "json-file", "Config": {"max-size": "20m", "max-file": "5"}},
                "security_opt": ["no-new-privileges"],
                "cap_drop": ["ALL"],
                "cap_add": ["SETUID", "SETGID", "CHOWN", "DAC_OVERRIDE"],
                **host,
            },
        )
        self._engine.copy_into(made, tar_of_files())
        return made

    # ---- what ends

    def soft_stop(self, proxy: Proxy) -> None:
        """Ask it to finish what it has and end. The engine does not start it again."""
        with contextlib.suppress(EngineError):  # it has ended
            self._engine.set_restart_policy(proxy.id, "no")
            self._engine.kill(proxy.id, "SIGUSR1")

    def prune(self) -> None:
        """Remove ended proxies but for the last few: their logs still say what their requests got."""
        for proxy in [proxy for proxy in self.proxies() if not proxy.running][:-_KEPT_ENDED]:
            self._engine.remove_container(proxy.id)

    def remove_all(self) -> None:
        """The holder first: a port that it publishes alone takes connections, and nobody ever answers them."""
        found = self._engine.containers(self._labels)
        for each in sorted(found, key=lambda container: container["Labels"].get(_ROLE) != "holder"):
            self._engine.remove_container(each["Id"])

    def last_lines(self, container: str, *, lines: int = 20) -> list[str]:
        return self._engine.logs(container, tail=lines).decode("utf-8", "replace").splitlines()

    def log(self, container: str, since_ns: int) -> Iterator[tuple[int, str]]:
        """What it printed since then, and perhaps a little before: each line with the engine's time of it, both in
        nanoseconds since the epoch.
        """
        tail = _LINES_AT_ONCE
        # Asked for a time alone, the engine reads the whole log (a second for 240,000 lines). Asked for the last lines
        # as well, it reads those only, and leaves out the ones from before that time: if it does, none is missing.
        while len(lines := self._lines(container, since_ns, tail)) >= tail:
            tail *= 8
        for line in lines:
            time, _, text = line.decode("utf-8", "replace").partition(" ")
            yield _nanoseconds(time), text

    def _lines(self, container: str, since_ns: int, tail: int) -> list[bytes]:
        since = since_ns // 1_000_000 / 1000
        return self._engine.logs(container, since=since, tail=tail, timestamps=True).splitlines()

    def check(self, name: str) -> None:
        """Ask HAProxy whether the file of that name is good. Raises EdgeError with its own lines."""
        code, said = self._engine.execute(self._name, ["haproxy", "-c", "-f", name], user="0:0", workdir=FOLDER)
        if code != 0:
            from deploykit.edge.errors import ConfigRejected

            raise ConfigRejected(
                "HAProxy refuses the configuration that was written for it",
                details=said.decode("utf-8", "replace").splitlines()[-20:],
                next_step=f"see whether {self._image} is a plain HAProxy 2.6 or later with Lua",
            )

    @property
    def network(self) -> str:
        return self._network

    def missing_network(self) -> EdgeError | None:
        if self._engine.find_network(self._network) is not None:
            return None
        return EdgeError(f"there is no network {self._network}", next_step="release: the target makes it")


def _nanoseconds(time: str) -> int:
    """Since the epoch, of a time as the engine writes it: `2026-01-31T12:00:00.123456789Z`."""
    seconds, _, fraction = time.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(f"{seconds}+00:00").timestamp()) * 10**9 + int(fraction.ljust(9, "0"))
