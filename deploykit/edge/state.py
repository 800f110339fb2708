"""What the edge knows: its port, its probe token, its servers and their weights.

It is kept inside HAProxy's configuration file, as comments: so there is one file, replaced in one rename, and what the
proxy reads at its next start can never differ from what the kit believes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from deploykit.edge.errors import EdgeError
from deploykit.edge.interface import EdgeOptions, Server

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["EdgeState", "WeightedServer", "parse_state", "state_lines", "unreadable"]

_MARKER = "# deploykit "
_PAST_LIMIT = 256


@dataclass(frozen=True, kw_only=True)
class WeightedServer:
    """A server and its weight, 0 to 256."""

    server: Server
    weight: int = 0


@dataclass(frozen=True, kw_only=True)
class EdgeState:
    """Everything that survives the proxy's process. `options` are those that the settings said last.

    `past` maps detached servers to their releases, oldest first: the log still has their requests.
    """

    port: int
    token: str
    options: EdgeOptions
    servers: Mapping[str, WeightedServer]
    past: Mapping[str, str]

    def with_server(self, server: Server, weight: int = 0) -> EdgeState:
        past = {name: release for name, release in self.past.items() if name != server.name}
        return replace(
            self, servers={**self.servers, server.name: WeightedServer(server=server, weight=weight)}, past=past
        )

    def without(self, names: Iterable[str]) -> EdgeState:
        gone = set(names)
        past = dict(self.past) | {name: self.servers[name].server.release for name in gone if name in self.servers}
        return replace(
            self,
            servers={name: entry for name, entry in self.servers.items() if name not in gone},
            past=dict(list(past.items())[-_PAST_LIMIT:]),
        )

    def with_weights(self, weights: Mapping[str, int]) -> EdgeState:
        """Weights of servers that are not known are left out."""
        return replace(
            self,
            servers={
                name: replace(entry, weight=weights.get(name, entry.weight)) for name, entry in self.servers.items()
            },
        )

    @property
    def weights(self) -> dict[str, int]:
        return {name: entry.weight for name, entry in self.servers.items()}

    @property
    def releases(self) -> dict[str, str]:
        """The releases of all servers that it has or had, by the servers' names."""
        return {**self.past, **{name: entry.server.release for name, entry in self.servers.items()}}


def state_lines(state: EdgeState) -> list[str]:
    """The comments that hold the state, one short line for each thing."""
    lines = [_line("edge", {"port": state.port, "token": state.token, "options": asdict(state.options)})]
    for entry in state.servers.values():
        server = entry.server
        lines.append(
            _line(
                "server",
                {
                    "name": server.name,
                    "release": server.release,
                    "host": server.host,
                    "port": server.port,
                    "weight": entry.weight,
                },
            )
        )
    lines += [_line("past", {"name": name, "release": release}) for name, release in state.past.items()]
    return lines


def _line(kind: str, data: Mapping[str, Any]) -> str:
    return f"{_MARKER}{kind} {json.dumps(data)}"


def parse_state(text: str, *, source: str) -> EdgeState:
    """Read the state back from a configuration. Raises EdgeError, naming `source`, when it is not one of the kit's."""
    edge: dict[str, Any] | None = None
    servers: dict[str, WeightedServer] = {}
    past: dict[str, str] = {}
    try:
        for line in text.splitlines():
            if not line.startswith(_MARKER):
                continue
            kind, _, data = line.removeprefix(_MARKER).partition(" ")
            fields = json.loads(data)
            if kind == "edge":
                edge = fields
            elif kind == "server":
                weight = int(fields.pop("weight"))
                server = Server(**fields)
                servers[server.name] = WeightedServer(server=server, weight=weight)
            elif kind == "past":
                past[fields["name"]] = fields["release"]
        if edge is not None:
            return EdgeState(
                port=int(edge["port"]),
                token=str(edge["token"]),
                options=EdgeOptions(
                    health_path=str(edge["options"]["health_path"]),
                    health_host=str(edge["options"]["health_host"]),
                    trusted_proxies=tuple(str(each) for each in edge["options"]["trusted_proxies"]),
                    tester_header=str(edge["options"]["tester_header"]),
                    tester_cookie=str(edge["options"]["tester_cookie"]),
                    sticky=bool(edge["options"]["sticky"]),
                    maintenance_page=str(edge["options"]["maintenance_page"]),
                ),
                servers=servers,
                past=past,
            )
    except (ValueError, TypeError, KeyError) as error:
        raise unreadable(source, f"{type(error).__name__}: {error}") from error
    raise unreadable(source, "the line that says the port and the token is missing")


def unreadable(source: str, why: str) -> EdgeError:
    """The error for a configuration that can't be read or is not one of the kit's."""
    return EdgeError(
        f"{source} is not the edge's configuration as deploykit writes it",
        details=[why],
        next_step=f"remove {source} and release again (the public port may change if the settings name none)",
    )
