"""HAProxy's runtime API, over its Unix socket. Manual: management guide, 9.3."""

from __future__ import annotations

import csv
import re
import socket
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deploykit.edge.config import APP, CHECK, PROBE, UNCHECKED, USERS
from deploykit.edge.errors import EdgeError, RuntimeUnreachable
from deploykit.process.ownership import socket_address

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deploykit.edge.interface import Server

__all__ = ["RuntimeAPI", "RuntimeServer"]

_TIMEOUT = 5.0
_COMMANDS_AT_ONCE = 50
"""One line of them has to fit into HAProxy's buffer of 16,384 bytes."""
_BACKENDS = {APP: CHECK, UNCHECKED: "", PROBE: ""}
"""The backends that have all servers, and the options of a server in each."""


@dataclass(frozen=True, kw_only=True)
class RuntimeServer:
    """A server as HAProxy has it in one backend. `in_flight`: requests being served or queued for it."""

    name: str
    address: str
    weight: int
    in_flight: int
    up: bool
    status: str
    check: str


class RuntimeAPI:
    """A client of one HAProxy; opens a connection per call.

    Every method raises RuntimeUnreachable when nobody answers, and UsageError where the socket may be somebody else's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def ask(self, *commands: str) -> str:
        """Send the commands in one go and return all that is answered."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.settimeout(_TIMEOUT)
                with socket_address(self.path) as path:
                    client.connect(path)
                client.sendall((";".join(commands) + "\n").encode())
                answer = bytearray()
                while data := client.recv(65_536):
                    answer += data
        except OSError as error:
            raise RuntimeUnreachable(
                "HAProxy's runtime socket does not answer",
                details=[f"{self.path}: {error}"],
                next_step="run `invoke status` to see what runs",
            ) from error
        return answer.decode("utf-8", "replace")

    def pid(self) -> int | None:
        """The process that answers, None when none does."""
        try:
            answer = self.ask("show info")
        except RuntimeUnreachable:
            return None
        return next((int(line[5:]) for line in answer.splitlines() if line.startswith("Pid: ")), None)

    def servers(self) -> dict[str, RuntimeServer]:
        """The users' servers by name; `in_flight` has the requests of all backends in it, the probes' too."""
        found = self._stat()
        return {
            name: replace(
                server, in_flight=sum(servers[name].in_flight for servers in found.values() if name in servers)
            )
            for name, server in found[APP].items()
        }

    def _stat(self) -> dict[str, dict[str, RuntimeServer]]:
        found: dict[str, dict[str, RuntimeServer]] = {backend: {} for backend in _BACKENDS}
        text = self.ask("show stat -1 4 -1").removeprefix("# ")
        for row in csv.DictReader(line for line in text.splitlines() if line):
            if row["pxname"] in found:
                found[row["pxname"]][row["svname"]] = RuntimeServer(
                    name=row["svname"],
                    address=row["addr"],
                    weight=int(row["uweight"] or row["weight"]),
                    in_flight=int(row["scur"]) + int(row["qcur"] or 0),
                    up=not row["status"].startswith(("DOWN", "MAINT", "NOLB")),
                    status=row["status"],
                    check=f"{row['check_status']} {row['check_code']} {row['last_chk']}".strip(),
                )
        return found

    def add(self, server: Server) -> None:
        """Make the server known at weight 0 in all backends, with the address it has now."""
        found = self._stat()
        for backend, options in _BACKENDS.items():
            name = f"{backend}/{server.name}"
            known = found[backend].get(server.name)
            commands: tuple[str, ...] = ()
            if known is None:
                commands = (f"add server {name} {server.address} weight 0 {options}".rstrip(),)
                if options:
                    commands += (f"enable health {name}",)
                commands += (f"set server {name} state ready",)
            elif known.status.startswith("MAINT"):
                commands = (f"set server {name} state ready",)
            if known is not None and known.address != server.address:
                # What was found out about the old address says nothing about the new one.
                commands += (
                    f"set server {name} addr {server.host} port {server.port}",
                    f"set server {name} health up",
                )
            said = self.ask(*commands) if commands else ""
            read = self._stat()[backend].get(server.name)
            if read is None or read.address != server.address or read.status.startswith("MAINT"):
                raise EdgeError(f"HAProxy did not take the server {server.name}", details=said.split("\n"))

    def remove(self, name: str, *, timeout: float = 5.0) -> None:
        """Take the server out of all backends, cutting off what is in flight; nothing happens if it is not there."""
        deadline = time.monotonic() + timeout
        for backend in _BACKENDS:
            while name in self._stat()[backend]:
                said = self.ask(
                    f"set server {backend}/{name} state maint",
                    f"shutdown sessions server {backend}/{name}",
                    f"del server {backend}/{name}",
                )
                if time.monotonic() > deadline:
                    raise EdgeError(f"HAProxy did not let go of the server {name}", details=said.split("\n"))
                time.sleep(0.005)

    def set_weights(self, weights: Mapping[str, int]) -> dict[str, RuntimeServer]:
        """Set and read back, all servers. Raises EdgeError when a weight did not become what was asked for."""
        if not weights:
            return self.servers()
        said = self.ask(
            *(
                f"set server {backend}/{name} weight {weight}"
                for backend in sorted(USERS)
                for name, weight in weights.items()
            )
        )
        found = self._stat()
        wrong = [
            f"{name}: wanted {weight}, is {server.weight if server is not None else 'not there'}"
            for backend in sorted(USERS)
            for name, weight in weights.items()
            if (server := found[backend].get(name)) is None or server.weight != weight
        ]
        if wrong:
            raise EdgeError("HAProxy did not take a weight", details=[*wrong, *filter(None, said.split("\n"))])
        return self.servers()

    def map_entries(self, name: str) -> dict[str, str] | None:
        """The entries of the map, None where the running configuration has no map of that name."""
        said = self.ask(f"show map {name}")
        if said.startswith("Unknown map"):
            return None
        # One entry a line: its address in memory, key, value.
        return {fields[1]: fields[2] for line in said.splitlines() if len(fields := line.split(" ", 2)) == 3}

    def set_map(self, name: str, entries: Mapping[str, str]) -> None:
        """Replace all entries of the map in one step, and read them back.

        Raises RuntimeUnreachable when they are not there then: the proxy may have been started again meanwhile.
        """
        said = self.ask(f"prepare map {name}")
        if (made := re.search(r"version created: (\d+)", said)) is None:
            raise EdgeError(f"HAProxy did not take the entries of {name}", details=said.split("\n"))
        version = f"@{made[1]} {name}"
        commands = [f"add map {version} {key} {value}" for key, value in entries.items()]
        for first in range(0, len(commands), _COMMANDS_AT_ONCE):
            said += self.ask(*commands[first : first + _COMMANDS_AT_ONCE])
        said += self.ask(f"commit map {version}")
        if self.map_entries(name) != entries:
            raise RuntimeUnreachable(f"HAProxy did not take the entries of {name}", details=said.split("\n"))
