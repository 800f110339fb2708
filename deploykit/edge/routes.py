"""Routes: requests of testers and of users with a number go to a named server, whatever the weights.

They are kept in a HAProxy map, which the frontend looks requests up in. What is found is tried first, inside the
backend of all user requests. So a route can't lose a request: where its server is not known, not up, or refuses the
connection, the weights decide.

A user's number is a cookie of the edge's own. It is given out while there are routes for numbers, so the share of the
numbers with a route is the share of the users. The number is no secret, nor are the testers' header and cookie: a
client that sends one chooses the version, and nothing else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from deploykit.edge.errors import EdgeError
from deploykit.model import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from deploykit.edge.interface import EdgeOptions

__all__ = [
    "ROUTES",
    "TESTER",
    "USER_COOKIE",
    "check_names",
    "check_routes",
    "entries_of",
    "has_routes",
    "request_rules",
    "routes_of",
    "server_rules",
]

ROUTES = "routes.map"
"""The map's file, in the proxy's working directory."""
TESTER = "tester"
USER_COOKIE = "deploykit-user"

_NUMBERS = frozenset(str(number) for number in range(100))
_NUMBERED = "numbered"
"""A key of the map that is no route: there are routes for numbers, so users need one."""
_DAY = 86_400
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")
"""Fewer characters than HTTP allows: none that HAProxy's configuration gives a meaning to."""


def has_routes(options: EdgeOptions) -> bool:
    return bool(options.tester_header or options.tester_cookie or options.sticky)


def check_names(options: EdgeOptions) -> None:
    """Raises UsageError for a header or a cookie that testers can't be known by."""
    for setting, name in (("tester_header", options.tester_header), ("tester_cookie", options.tester_cookie)):
        if not name:
            continue
        if not _NAME.fullmatch(name):
            why = "a name has letters, digits, '-', '_' and '.'"
        elif name == USER_COOKIE or name.lower().replace("_", "-").startswith("x-deploykit-"):
            why = "that name is the edge's own"
        else:
            continue
        raise UsageError(
            f"the edge can't know testers by {setting} {name!r}: {why}",
            next_step=f"set {setting} in environments.NAME.rollout to a name such as {_EXAMPLES[setting]}",
        )


_EXAMPLES = {"tester_header": "X-Tester", "tester_cookie": "tester"}


def check_routes(routes: Mapping[str, str], servers: Collection[str]) -> None:
    """Raises ValueError for what is no key, EdgeError for a server that is not among `servers`."""
    if bad := sorted(set(routes) - _NUMBERS - {TESTER}):
        raise ValueError(f"a route is for {TESTER!r} or a number '0' to '99': {', '.join(map(repr, bad))}")
    if unknown := sorted(set(routes.values()) - set(servers)):
        raise EdgeError(f"the edge has no server {', '.join(unknown)}", next_step="attach it first")


def entries_of(routes: Mapping[str, str]) -> dict[str, str]:
    """The map's entries for these routes."""
    return {**routes, _NUMBERED: "yes"} if _NUMBERS & set(routes) else dict(routes)


def routes_of(entries: Mapping[str, str]) -> dict[str, str]:
    """The routes among the map's entries."""
    return {key: server for key, server in entries.items() if key != _NUMBERED}


def request_rules(options: EdgeOptions, *, probe: str) -> list[str]:
    """The frontend's lines, which set txn.route to a server's name. `probe` names the condition of the kit's probes."""
    tester = f"http-request set-var(txn.route) str({TESTER}),map({ROUTES})"
    lines = []
    if options.tester_header:
        lines.append(f"  {tester} if {{ req.fhdr({options.tester_header}) -m found }}")
    if options.tester_cookie:
        lines.append(f"  {tester} if {{ req.cook({options.tester_cookie}) -m found }}")
    if options.sticky:
        new = f"%[var(txn.number)]; Path=/; HttpOnly; SameSite=Lax; Max-Age={_DAY}"
        numbered = "{ var(txn.user) -m found } !{ var(txn.route) -m found }"
        lines += [
            f"  acl has_number req.cook({USER_COOKIE}) -m reg ^(0|[1-9][0-9]?)$",
            f"  acl numbered str({_NUMBERED}),map({ROUTES}) -m found",
            f"  http-request set-var(txn.user) req.cook({USER_COOKIE}) if has_number",
            # A replaced process hands the request on to one that gives out the number.
            f"  http-request set-var(txn.number) rand(100) if numbered !has_number !{probe} !{{ stopping }}",
            "  http-request set-var(txn.user) var(txn.number) if { var(txn.number) -m found }",
            f"  http-request set-var(txn.route) var(txn.user),map({ROUTES}) if {numbered}",
            f'  http-response add-header Set-Cookie "{USER_COOKIE}={new}" if {{ var(txn.number) -m found }}',
        ]
    return lines


def server_rules(options: EdgeOptions) -> list[str]:
    """The lines of the backend of user requests."""
    return ["  use-server %[var(txn.route)] if { var(txn.route) -m found }"] if has_routes(options) else []
