"""HAProxy's configuration as text. Every line that keeps a request from being lost says why."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.edge import maintenance, routes
from deploykit.edge.accesslog import LOG_FORMAT
from deploykit.edge.quoting import quoted
from deploykit.edge.state import EdgeState, state_lines
from deploykit.model import UsageError

if TYPE_CHECKING:
    from deploykit.edge.interface import EdgeOptions, Server

__all__ = [
    "APP",
    "BIND",
    "CHECK",
    "DATABASE_ERROR_HEADER",
    "PROBE",
    "PROBE_HEADER",
    "SOCKET",
    "UNCHECKED",
    "USERS",
    "ConfigOptions",
    "check_server",
    "render",
]

APP = "app"
"""The backend of user requests."""
UNCHECKED = "unchecked"
"""Takes user requests while no server passes its health check: a page may work although the health path does not, and
one that does not is no worse than no answer."""
USERS = frozenset({APP, UNCHECKED})
"""The backends that user requests go to."""
PROBE = "probe"
"""The backend of the kit's probes: the same servers, each reached by its name alone."""
PROBE_HEADER = "X-Deploykit-Probe"
"""`TOKEN:SERVER`. Removed before the application sees it, no matter who sent it."""
DATABASE_ERROR_HEADER = "X-Deploykit-Database-Error"
"""An application sets it on answers that failed for its database; counted, and removed before the user sees it."""
HANDOVER = "handover"
"""Takes the requests that a replaced process still gets, on connections that were idle, to the newest process: only
that one has the present weights."""
SOCKET = "admin.sock"
"""Relative to the edge's folder, which is the proxy's working directory: a Unix socket's path has at most 107 bytes."""
BIND = "fd@3"
"""The listening socket belongs to the supervisor, so no connection is refused while the proxy restarts."""
CHECK = "check inter 500 fall 3 rise 1"
"""Said for each server, since servers that are added at run time ignore `default-server`."""

_SAID_OF_THE_CLIENT = (
    r"^(x[-_])?forwarded([-_]|$)",
    r"^(x[-_](real|client|cluster[-_]client)|true[-_]client|cf[-_]connecting|fastly[-_]client)[-_]ip$",
    r"^x[-_](original|rewrite|url|script)[-_]|^(x[-_]scheme|front[-_]end[-_]https|script[-_]name)$",
)
"""Headers by which proxies tell an application who asked, and for which address. From anybody else they are forged.
With `_` as well, since a WSGI application can't tell `X_Forwarded_For` from `X-Forwarded-For`. HAProxy has all names in
lower case."""
_LABELS = r"^x[-_]deploykit[-_]"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_HOST = re.compile(r"[A-Za-z0-9.:\[\]-]*")
_PATH = re.compile(r"/[A-Za-z0-9._~!&()*+,;=:@%/?-]*")


@dataclass(frozen=True, kw_only=True)
class ConfigOptions:
    """What does not change from release to release. `hard_stop_after`: seconds a replaced process may go on with its
    connections. `identity`: the (uid, gid) to become, None to stay. `maxconn` None: what the limit of open
    files allows. `more`: further lines of the global section. `handover`: who may use the socket HANDOVER.
    """

    app: str
    environment: str
    maxconn: int | None
    threads: int
    hard_stop_after: float
    identity: tuple[int, int] | None = None
    more: tuple[str, ...] = ()
    handover: str = "mode 600"


def check_server(server: Server) -> None:
    """Raises ValueError when a name or an address is not valid in a configuration."""
    if not _NAME.fullmatch(server.name) or not _NAME.fullmatch(server.release):
        raise ValueError(
            f"a server's name and release are letters, digits, '.', '_' and '-': {server.name!r}, {server.release!r}"
        )
    ipaddress.ip_address(server.host)
    if not 1 <= server.port <= 65_535:
        raise ValueError(f"server {server.name}: no such port: {server.port}")


def render(state: EdgeState, options: ConfigOptions, *, bind: str = BIND) -> str:
    """The whole file. The same state and options always give the same text."""
    _check_options(state.options)
    lines = ["# Written by deploykit; changes are overwritten.", *state_lines(state), "", *_global(options)]
    lines += [
        "",
        *_defaults(),
        "",
        *_public(state, options, bind),
        "",
        *_app(state, options),
        "",
        *_unchecked(state, options),
    ]
    lines += ["", *_probe(state), "", *maintenance.backend(state.options)]
    lines += ["", f"backend {HANDOVER}", f"  server newest unix@{HANDOVER}.sock", ""]
    return "\n".join(lines)


def _check_options(options: EdgeOptions) -> None:
    if not _PATH.fullmatch(options.health_path):
        raise UsageError(
            f"the edge cannot ask for the health path {options.health_path!r}",
            next_step="set service.health in [tool.deploykit] to a plain path such as /health",
        )
    if not _HOST.fullmatch(options.health_host):
        raise UsageError(
            f"the edge cannot ask for the host {options.health_host!r}",
            next_step="set service.health_host in [tool.deploykit] to a name such as shop.example.org",
        )
    for proxy in options.trusted_proxies:
        try:
            ipaddress.ip_network(proxy)
        except ValueError as error:
            raise UsageError(
                f"the edge can't trust {proxy!r}: {error}",
                next_step="correct trusted_proxies in [tool.deploykit.edge]",
            ) from None
    routes.check_names(options)
    maintenance.check_page(options)


def _global(options: ConfigOptions) -> list[str]:
    lines = [
        "global",
        f"  description {options.app} {options.environment}",
        *([f"  maxconn {options.maxconn}"] if options.maxconn is not None else []),
        f"  nbthread {options.threads}",
        f"  stats socket unix@{SOCKET} mode 600 level admin",
        "  stats timeout 10s",
        "  log stdout format raw local0 info",
        # A replaced process ends when its connections do; one that never does must not stay for ever.
        f"  hard-stop-after {int(options.hard_stop_after)}s",
    ]
    if options.identity is not None:
        lines += [f"  uid {options.identity[0]}", f"  gid {options.identity[1]}"]
    return [*lines, *(f"  {line}" for line in options.more)]


def _defaults() -> list[str]:
    return [
        "defaults",
        "  mode http",
        "  log global",
        "  option dontlognull",
        "  timeout connect 3s",
        "  timeout client 300s",
        "  timeout server 300s",
        "  timeout queue 30s",
        "  timeout check 30s",
        "  timeout http-request 30s",
        # Longer than the 60 s after which most load balancers give up an idle connection: they must be first.
        "  timeout http-keep-alive 75s",
        "  timeout tunnel 1h",
        # One connection to the application per request: none can be closed by it while a request is on its way.
        "  option http-server-close",
        "  http-reuse never",
        # A replaced process answers what comes on an idle connection once more, and says that it closes: see HANDOVER.
        "  option idle-close-on-response",
        "  option forwardfor",
    ]


def _public(state: EdgeState, options: ConfigOptions, bind: str) -> list[str]:
    return [
        "frontend public",
        f"  bind {bind}",
        f"  bind unix@{HANDOVER}.sock {options.handover} name {HANDOVER}",
        f"  log-format '{LOG_FORMAT}'",
        f"  acl probing req.hdr({PROBE_HEADER}),field(1,:) -m str {state.token}",
        f"  http-request set-var(txn.server) req.hdr({PROBE_HEADER}),field(2,:) if probing",
        # Before the application's headers are looked at: a tester's may be one that is not passed on.
        *routes.request_rules(state.options, probe="probing"),
        *_passed_on(state),
        f"  http-response set-var(txn.database) int(1) if {{ res.hdr({DATABASE_ERROR_HEADER}) -m found }}",
        f"  http-response del-header {DATABASE_ERROR_HEADER}",
        f"  use_backend {HANDOVER} if {{ stopping }}",
        f"  use_backend {PROBE} if {{ var(txn.server) -m found }}",
        maintenance.use_backend(),
        f"  use_backend {UNCHECKED} if {{ nbsrv({APP}) lt 1 }}",
        f"  default_backend {APP}",
    ]


def _passed_on(state: EdgeState) -> list[str]:
    """Which headers reach the application: what clients can't forge, and what the edge says itself (and forwardfor)."""
    trusted = state.options.trusted_proxies
    # A process that was replaced has sent its clients' requests on after doing all of this.
    believed = "replaced || proxy" if trusted else "replaced"
    upgrading = "{ req.hdr(Connection) -m sub -i upgrade }"
    return [
        f"  http-request del-header '{_LABELS}' -m reg",
        f"  acl replaced so_name {HANDOVER}",
        *([f"  acl proxy src {' '.join(trusted)}"] if trusted else []),
        *(f"  http-request del-header '{names}' -m reg unless {believed}" for names in _SAID_OF_THE_CLIENT),
        "  http-request set-header X-Forwarded-Proto http if !{ req.hdr(X-Forwarded-Proto) -m found }",
        # It names the headers of this connection only (RFC 9110, 7.6.1): a proxy in the application's container that
        # obeyed a client's would take the edge's own ones away.
        f"  http-request del-header Connection unless {upgrading}",
        f"  http-request set-header Connection upgrade if {upgrading}",
    ]


def _app(state: EdgeState, options: ConfigOptions) -> list[str]:
    asked = state.options
    host = asked.health_host or "localhost"
    return [
        f"backend {APP}",
        "  balance roundrobin",
        "  option httpchk",
        f"  http-check send meth GET uri '{asked.health_path}' ver HTTP/1.1 hdr Host {host}",
        # Whether a version is well is judged before it gets traffic. Here: does it answer, and does it not say 5xx. A
        # check may take 30 s (timeout check): one busy worker is not a dead one; a refused connection is seen at once.
        "  http-check expect rstatus ^[1-4]",
        # A server that is not up is passed over, one that refuses the connection is redispatched: see routes.py.
        *routes.server_rules(asked),
        *_servers(state, options, CHECK),
    ]


def _unchecked(state: EdgeState, options: ConfigOptions) -> list[str]:
    """The same servers with the same weights."""
    return [f"backend {UNCHECKED}", "  balance roundrobin", *_servers(state, options, "")]


def _servers(state: EdgeState, options: ConfigOptions, check: str) -> list[str]:
    return [
        "  option redispatch 1",
        "  retries 3",
        # A connection that failed has carried nothing, so any method may try another server. An empty answer may
        # mean that the request was acted on: only methods that change nothing are sent again.
        "  retry-on conn-failure empty-response",
        "  http-request disable-l7-retry unless { method GET HEAD OPTIONS }",
        _unavailable(f"{options.app} ({options.environment}): no version is up right now, try again in a moment"),
        *(
            f"  server {entry.server.name} {entry.server.address} weight {entry.weight} {check}".rstrip()
            for entry in state.servers.values()
        ),
    ]


def _probe(state: EdgeState) -> list[str]:
    return [
        f"backend {PROBE}",
        "  balance roundrobin",
        # Every weight is 0, so a probe reaches the server it names, or none: never another version, never a retry.
        "  use-server %[var(txn.server)] if TRUE",
        "  retries 0",
        _unavailable("the probed server is not known or does not answer"),
        *(f"  server {entry.server.name} {entry.server.address} weight 0" for entry in state.servers.values()),
    ]


def _unavailable(text: str) -> str:
    line = quoted(f"{text}\n")
    return f"  http-error status 503 content-type text/plain string {line} hdr Retry-After 1"
