"""One plain HTTP request without redirects, retries or pools; loopback is polled with it every 20 ms."""

from __future__ import annotations

import select
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deploykit.process.cancellation import NEVER, Cancellation

if TYPE_CHECKING:
    import http.client
    import socket
    from collections.abc import Callable, Mapping


__all__ = ["Answer", "Connection", "NoAnswerError", "body_excerpt", "get"]

_BODY_LIMIT = 1_000_000
_CONNECT = 1.0
_LOOK = 0.05
_SHOWN = 200


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back. `headers` have lower-case names; `ms` is from the request to the end of the body.

    `set_cookies` are the values of all Set-Cookie headers.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    set_cookies: tuple[str, ...] = ()
    body: bytes = b""
    ms: float = 0.0

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    @property
    def location(self) -> str:
        """Where a redirect points to; it is never followed."""
        return self.headers.get("location", "") if 300 <= self.status < 400 else ""


class NoAnswerError(Exception):
    """There was no HTTP answer. `refused`: nobody listens on the port."""

    def __init__(self, why: str, *, refused: bool = False) -> None:
        super().__init__(why)
        self.refused = refused


class Connection:
    """A keep-alive connection to `http://host:port`; it is opened again after an answer that closes it or an error.

    Where a `cancellation` comes while an answer is waited for, `get` and `request` raise Cancelled; nothing but `close`
    is of use then.
    """

    def __init__(self, base: str, *, timeout: float, cancellation: Cancellation = NEVER) -> None:
        parts = urlsplit(base)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"not the URL of an HTTP server: {base!r}")
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._prefix = parts.path.rstrip("/")
        self._timeout = timeout
        self._cancellation = cancellation
        self._open: http.client.HTTPConnection | None = None

    def get(
        self,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float | None = None,
        connect: float | None = None,
    ) -> Answer:
        """See `request`."""
        return self.request("GET", path, headers, timeout=timeout, connect=connect)

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        body: bytes | None = None,
        timeout: float | None = None,
        connect: float | None = None,
    ) -> Answer:
        """`timeout` in place of the connection's own; `connect` limits the time until there is a connection, where that
        is to be less.

        Raises NoAnswerError.
        """
        import http.client

        self._cancellation.check()
        began = time.perf_counter()
        limit = self._timeout if timeout is None else timeout
        try:
            if self._open is None:
                kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
                self._open = kind(self._host, self._port, timeout=limit)
            if self._open.sock is None and connect is not None:
                self._open.timeout = min(limit, connect)
                self._open.connect()
            self._open.timeout = limit
            if self._open.sock is not None:
                self._open.sock.settimeout(limit)
            self._open.request(method, self._prefix + path, body=body, headers=dict(headers or {}))
            self._await_answer(self._open.sock, limit)
            response = self._open.getresponse()
            body = response.read(_BODY_LIMIT)
            rest = not response.isclosed()
        except ConnectionRefusedError as error:
            self.close()
            raise NoAnswerError("the connection is refused: nobody listens on the port", refused=True) from error
        except TimeoutError as error:
            self.close()
            raise NoAnswerError(f"no answer within {limit:.3g} s") from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NoAnswerError(f"no answer: {str(error) or type(error).__name__}") from error
        if rest:
            self.close()
        return Answer(
            status=response.status,
            headers={name.lower(): value for name, value in response.getheaders()},
            body=body,
            set_cookies=tuple(response.headers.get_all("Set-Cookie", ())),
            ms=(time.perf_counter() - began) * 1000,
        )

    def _await_answer(self, sock: socket.socket, limit: float) -> None:
        """Until there is something to read. Raises TimeoutError after `limit` seconds, and Cancelled."""
        waiting = select.poll()
        waiting.register(sock, select.POLLIN)
        until = time.monotonic() + limit
        while not waiting.poll(_LOOK * 1000):
            self._cancellation.check()
            if time.monotonic() >= until:
                raise TimeoutError

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open = None


def get(
    url: str, *, timeout: float, headers: Mapping[str, str] | None = None, cancellation: Cancellation = NEVER
) -> Answer:
    """GET of a whole URL on a connection of its own. Raises NoAnswerError, and ValueError for what is no HTTP URL.

    A container that has just ended leaves an address behind that nobody answers for: connecting is given up early.
    """
    parts = urlsplit(url)
    connection = Connection(f"{parts.scheme}://{parts.netloc}", timeout=timeout, cancellation=cancellation)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return connection.get(path, {"Connection": "close", **(headers or {})}, connect=_CONNECT)
    finally:
        connection.close()


def body_excerpt(answer: Answer, redact: Callable[[str], str] = str) -> str:
    """The start of a body on one line, redacted before it is cut: half a secret would not be found."""
    text = " ".join(redact(answer.text).split())
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
