"""Who may write, who may read, and by which names the board is called. Tokens are compared in constant time."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["EVERY_APP", "KnownHosts", "Tokens", "is_loopback"]

EVERY_APP = ""
"""What a reader's token lets its holder read; an app's token: that app."""


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """`apps` are pairs of an app and a token, more than one for an app while its token is changed; `readers` are tokens
    of those who may read everything.
    """

    apps: Sequence[tuple[str, str]] = field(default=(), repr=False)
    readers: Sequence[str] = field(default=(), repr=False)

    def writer(self, authorization: str) -> str | None:
        """The app that `Authorization: Bearer <token>` may report on; None for nobody's token."""
        scheme, _, shown = authorization.partition(" ")
        return _owner(shown.strip(), self.apps) if scheme.lower() == "bearer" else None

    def reader(self, authorization: str) -> str | None:
        """The app that its holder may read of, EVERY_APP for all; None for nobody's token.

        It is sent as Bearer or, by browsers, as the password of Basic (any user name).
        """
        scheme, _, shown = authorization.partition(" ")
        if scheme.lower() == "basic":
            try:
                shown = base64.b64decode(shown.strip(), validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError, ValueError):
                return None
        elif scheme.lower() != "bearer":
            return None
        return _owner(shown.strip(), [*self.apps, *((EVERY_APP, token) for token in self.readers)])


def _owner(shown: str, tokens: Collection[tuple[str, str]]) -> str | None:
    """Whose token it is. All are looked at, and as digests: neither place nor length shows in the time it takes."""
    digest = _digest(shown)
    found: str | None = None
    for owner, token in tokens:
        if hmac.compare_digest(digest, _digest(token)):
            found = owner
    return found if shown else None


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


class KnownHosts:
    """Answers 400 to requests that call the board by another name than its own: `names`, or this machine's loopback.

    A page of another site whose name was made to lead here (DNS rebinding) sends that name, and could read the answer.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self.app = app
        self.names = frozenset(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            sent = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            name = _name_of(sent[0]) if len(sent) == 1 else ""
            if name not in self.names and not is_loopback(name):
                from starlette.responses import JSONResponse

                error = "The board has another name than this request's Host header: add it to BOARD_HOSTS."
                await JSONResponse({"error": error}, 400, headers={"Cache-Control": "no-store"})(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _name_of(host: str) -> str:
    """The name in a Host header, without its port; empty for what is none."""
    name, colon, port = host.strip().lower().rpartition(":")
    if not colon or (host.startswith("[") and host.endswith("]")):
        return host.strip().lower().strip("[]")
    return name.strip("[]") if port.isdigit() else ""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it there."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
