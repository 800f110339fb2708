"""The network of one app in one environment.

A container's address must stay the same when the engine restarts it, since the edge knows it by address. Docker gives
the addresses of ended containers to others, unless an address was requested. It allows that only on networks with their
own subnet. So the kit asks the engine for a free subnet, and creates the network again with that one. The upper half is
for the kit's instances; the engine assigns addresses from the lower half.
"""

from __future__ import annotations

import ipaddress
import random
import threading
from typing import TYPE_CHECKING, Any

from deploykit.model import DeploykitError
from deploykit.process.docker import Engine, EngineError
from deploykit.targets.docker.names import PREFIX, Kind, Names

if TYPE_CHECKING:
    from collections.abc import Collection


__all__ = ["ADDRESS_LABEL", "AppNetwork"]

ADDRESS_LABEL = f"{PREFIX}address"


class AppNetwork:
    """Made when it is missing, removed by `remove` unless somebody still uses it."""

    def __init__(self, engine: Engine, names: Names) -> None:
        self._engine = engine
        self._names = names
        self._name = names.network
        self._chance = random.SystemRandom()
        self._turn = threading.Lock()  # engines make two networks of one name when they are asked at the same moment

    @property
    def name(self) -> str:
        return self._name

    def ensure(self) -> dict[str, Any]:
        """The network as the engine has it. Two who make it at once get the same one."""
        with self._turn:
            return self._ensure()

    def _ensure(self) -> dict[str, Any]:
        if (found := self._engine.find_network(self._name)) is not None:
            return found
        trial = f"{self._name}.{self._chance.randrange(16**8):08x}"
        self._engine.create_network(trial, labels=self._names.labels(Kind.NETWORK))
        try:
            made = self._engine.find_network(trial)
        finally:
            self._engine.remove_network(trial)
        if made is None:
            raise self._removed()
        (config, *_) = made["IPAM"]["Config"]
        subnet = ipaddress.IPv4Network(config["Subnet"])
        lower = next(subnet.subnets())
        docker = {"Driver": "default", "Config": [{"Subnet": str(subnet), "IPRange": str(lower)}]}
        try:
            self._engine.create_network(self._name, ipam=docker, labels=self._names.labels(Kind.NETWORK))
        except EngineError:
            if (found := self._engine.find_network(self._name)) is not None:  # somebody else was faster
                return found
            raise
        if (found := self._engine.find_network(self._name)) is None:
            raise self._removed()
        return found

    def _removed(self) -> DeploykitError:
        return DeploykitError(f"the network {self._name} was removed while it was made", next_step="try again")

    def free_address(self, network: dict[str, Any], taken: Collection[str]) -> str:
        """An address of the upper half that nobody has. "" where the network's addresses can't be chosen."""
        (config, *_) = network["IPAM"]["Config"] or [{}]
        if "IPRange" not in config:
            return ""
        used = {entry["IPv4Address"].partition("/")[0] for entry in network["Containers"].values()} | set(taken)
        _, upper = ipaddress.IPv4Network(config["Subnet"]).subnets()
        for _ in range(1000):
            address = str(upper[self._chance.randrange(1, upper.num_addresses - 1)])
            if address not in used:
                return address
        raise DeploykitError(f"the network {self._name} has no address left", details=(config["Subnet"],))

    def remove(self) -> None:
        """Nothing happens when somebody (the edge) still uses it."""
        try:
            self._engine.remove_network(self._name)
        except EngineError as error:
            if "active endpoints" not in error.message:
                raise
