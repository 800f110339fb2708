"""The HTTP client of requests that may carry a credential. Nothing else in the kit sends one beyond this machine.

Rules, which no caller can switch off:

1. https, or plain http to the loopback interface and to hosts that a setting calls `insecure`.
2. What carries a credential, or a body, goes to the origin (RFC 6454: scheme, host, port) that it was meant for.
   A redirect to another one is refused, by a sentence that names it. curl had to learn it in CVE-2018-1000007,
   containerd in CVE-2020-15157.
3. A redirect without them is followed to https, or on the same host, and never from https to plain http.
4. No proxy is asked for this machine's loopback, whatever NO_PROXY forgets to say.
"""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from deploykit.model import DeploykitError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    import httpx2

__all__ = ["Client", "CredentialKept", "basic", "check_address", "host_of", "is_loopback", "shown"]

_REDIRECTS = 5
_LARGEST = 16 * 2**20
"""Bytes. A manifest has 4 MiB at most (OCI distribution specification, "Pushing Manifests")."""
_OF_THE_BODY = frozenset({"content-encoding", "content-length", "transfer-encoding"})
_REPEATED = frozenset({307, 308})
"""RFC 9110, 15.4.8: what a client sends again as it was. After others it would ask by GET, without the body."""


class CredentialKept(DeploykitError):
    """A credential would have gone where it does not belong: it was not sent there."""


class Client:
    """Use it as a context manager. `timeout` is in seconds; plain HTTP is also spoken to the hosts in `insecure`."""

    def __init__(self, *, timeout: float, insecure: Collection[str] = ()) -> None:
        self._timeout = timeout
        self._insecure = frozenset(insecure)
        self._clients: dict[tuple[bool, bool], httpx2.Client] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def request(self, method: str, url: str, **what: Any) -> httpx2.Response:
        """See `stream`; the whole answer has been read, as it was sent. One beyond _LARGEST is a TransportError."""
        import httpx2

        headers = {"Accept-Encoding": "identity", **(what.pop("headers", None) or {})}
        with self.stream(method, url, headers=headers, **what) as response:
            body = bytearray()
            for piece in response.iter_raw():
                body += piece
                if len(body) > _LARGEST:
                    raise httpx2.RemoteProtocolError(f"it sends more than {_LARGEST} bytes", request=response.request)
            # A body that is compressed all the same is not unpacked: it could fill the memory.
            said = [pair for pair in response.headers.multi_items() if pair[0].lower() not in _OF_THE_BODY]
            return httpx2.Response(response.status_code, headers=said, content=bytes(body), request=response.request)

    @contextlib.contextmanager
    def stream(
        self, method: str, url: str, *, authorization: str = "", headers: Mapping[str, str] | None = None, **what: Any
    ) -> Iterator[httpx2.Response]:
        """Send it, and follow redirects by the module's rules. `authorization` is the header of that name; user and
        password in `url` are taken for one. `what` is httpx2's `params`, `content`, `data` or `json`.

        Raises CredentialKept, and httpx2's TransportError and InvalidURL.
        """
        import httpx2

        address = httpx2.URL(url)
        if address.userinfo and not authorization:
            authorization = basic(address.username, address.password)
        address = address.copy_with(userinfo=b"")
        own = {**(headers or {}), **({"Authorization": authorization} if authorization else {})}
        check_address(str(address), self._insecure)
        if not (authorization.isascii() and authorization.isprintable()):
            raise CredentialKept(
                f"the credential for {shown(url)} has characters that no header can hold",
                next_step="set it again, in ASCII and without line breaks",
            )
        for _ in range(_REDIRECTS):
            client = self._client(address)
            request = client.build_request(method, address, headers=own, **what)
            bound = bool(authorization) or any(what.get(name) for name in ("content", "data", "json"))
            response = client.send(request, auth=None, stream=True)
            try:
                if not response.has_redirect_location:
                    yield response
                    return
            finally:
                response.close()
            address = self._followed(response, bound=bound)
            what.pop("params", None)  # the new address says all of it
        raise httpx2.RemoteProtocolError(f"more than {_REDIRECTS} redirects", request=request)

    def _client(self, address: httpx2.URL) -> httpx2.Client:
        import httpx2

        key = (is_loopback(address.host), address.scheme == "https")
        if key not in self._clients:
            direct, secure = key
            self._clients[key] = httpx2.Client(
                timeout=self._timeout,
                # Whom the system trusts takes a tenth of a second to read, so only for HTTPS.
                verify=True if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
                mounts=dict.fromkeys(("http://", "https://", "all://")) if direct else None,
            )
        return self._clients[key]

    def _followed(self, response: httpx2.Response, *, bound: bool) -> httpx2.URL:
        """Where a redirect leads to. Raises CredentialKept where that is not to be followed."""
        before = response.request.url
        found = before.join(response.headers["Location"]).copy_with(userinfo=b"")
        here, there = shown(str(before)), shown(str(found))
        if bound and _origin(found) != _origin(before):
            raise CredentialKept(
                f"{here} sends on to {there}, which is another place: nothing was sent there",
                next_step=f"name {there} in the settings where that is right",
            )
        if bound and response.request.method not in {"GET", "HEAD"} and response.status_code not in _REPEATED:
            raise CredentialKept(
                f"{here} answers {response.status_code}, a redirect to {there}, where it should take what it is sent",
                next_step=f"name {there} in the settings where that is right",
            )
        if found.scheme != "https" and (found.scheme, found.host) != (before.scheme, before.host):
            raise CredentialKept(
                f"{here} sends on to {there}, which is not https: that is not followed",
                next_step="name an address that answers by itself",
            )
        check_address(str(found), self._insecure)
        return found


def basic(user: str, password: str) -> str:
    """The header `Authorization` of Basic authentication (RFC 7617)."""
    import base64

    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def is_loopback(host: str) -> bool:
    """Whether a URL's host, without port, is this machine's loopback: 127.0.0.0/8, ::1, localhost."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def host_of(url: str) -> str:
    """The host of an address, without port and brackets; empty for what is none."""
    import httpx2

    try:
        return httpx2.URL(url).host
    except httpx2.InvalidURL:
        return ""


def check_address(url: str, insecure: Collection[str] = ()) -> None:
    """Raises CredentialKept for what is no address of an HTTP server, and for plain HTTP where that is not allowed."""
    import httpx2

    try:
        urlsplit(url)  # it sees what httpx2 lets pass: an open bracket
        address = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError) as error:
        raise CredentialKept(f"{shown(url)!r} is no address: {error}", next_step="https://HOST/…") from None
    if address.scheme not in {"http", "https"} or not address.host:
        raise CredentialKept(f"{shown(url)!r} is no http address", next_step="https://HOST/…")
    if address.scheme == "http" and not is_loopback(address.host) and address.host not in insecure:
        raise CredentialKept(
            f"{shown(url)} is plain http, where anybody on the way reads and changes what is sent",
            next_step=f"https://{address.netloc.decode()}{address.path}",
        )


def shown(url: str) -> str:
    """The address without user, password and query, for people to read."""
    import httpx2

    try:
        address = httpx2.URL(url).copy_with(userinfo=b"", query=None, fragment=None)
    except httpx2.InvalidURL:
        return url.rpartition("@")[2].partition("?")[0]
    return str(address)


def _origin(address: httpx2.URL) -> tuple[str, str, int | None]:
    return address.scheme, address.host, address.port or {"http": 80, "https": 443}.get(address.scheme)
