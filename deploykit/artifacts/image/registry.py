"""What a registry says of a tag, asked over its HTTP API (OCI distribution specification 1.1), with Docker's
credentials.

Basic authentication and token servers (github.com/distribution/distribution, docs/spec/auth/token.md). Plain HTTP is
used with registries on the loopback interface only where HTTPS does not answer, as docker itself does, or where
`insecure` is set.

A registry names its token server itself, in the realm of its challenge, and the login is shown there. Docker,
distribution and skopeo show it to whatever is named; containerd did until CVE-2020-15157, go-containerregistry until
its issue 2193. Here a realm is on the registry's own host by https, at its very own address by plain HTTP, on a host of
`_TOKEN_HOSTS`, or on the one that the settings name. Others are refused: most registries are their own token server,
and a line in the settings is less trouble than a password with the wrong people.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from deploykit.model import DeploykitError
from deploykit.process.http import Client, CredentialKept, basic, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2

    from deploykit.artifacts.image.credentials import Credentials
    from deploykit.artifacts.image.names import Repository

__all__ = ["Manifest", "Refused", "Registry", "RegistryError", "Unavailable"]

_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_HUB_ADDRESS = "registry-1.docker.io"
_TOKEN_HOSTS = {_HUB_ADDRESS: "auth.docker.io", "registry.gitlab.com": "gitlab.com"}
"""Public registries whose token server has another name."""


class RegistryError(DeploykitError):
    """The registry did not do what it was asked for."""


class Refused(RegistryError):
    """It said no (401, 403): trying again changes nothing."""


class Unavailable(RegistryError):
    """It can't now (the connection was cut, 429, 5xx): trying again may help."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """`digest` is that of the very bytes in `body`; `config` the digest of the image's configuration, empty for an
    index.
    """

    digest: str
    media_type: str
    body: bytes
    config: str


class Registry:
    """One repository in a registry. `insecure`: plain HTTP. `token_host`: where it may send the login to besides its
    own host. Use it as a context manager.
    """

    def __init__(
        self,
        repository: Repository,
        credentials: Credentials | None,
        *,
        insecure: bool = False,
        token_host: str = "",
        timeout: float = 30.0,
    ) -> None:
        self._repository = repository
        self.credentials = credentials
        host = _HUB_ADDRESS if repository.registry == "docker.io" else repository.registry
        self._addresses = [f"http://{host}"] if insecure else [f"https://{host}"]
        if repository.on_loopback and not insecure:
            self._addresses.append(f"http://{host}")
        self._token_hosts = {token_host, _TOKEN_HOSTS.get(host, "")} - {""}
        self._client = Client(timeout=timeout, insecure={_hostname(host)} if insecure else ())
        self._authorization = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def digest(self, reference: str) -> str:
        """The digest that a tag (or digest) has in the registry, empty when it has none. Raises RegistryError."""
        response = self._request("HEAD", reference)
        if response.status_code == 404:
            return ""
        self._check(response, f"ask for {self._repository}:{reference}")
        if found := response.headers.get("Docker-Content-Digest", ""):
            return str(found)
        manifest = self.manifest(reference)  # the header is optional in the specification
        return manifest.digest if manifest is not None else ""

    def manifest(self, reference: str) -> Manifest | None:
        """What a tag or digest names; None when there is none. Raises RegistryError."""
        response = self._request("GET", reference)
        if response.status_code == 404:
            return None
        self._check(response, f"ask for {self._repository}:{reference}")
        try:
            data = json.loads(response.content)
        except ValueError:
            raise RegistryError(
                f"{self._repository.registry} answered with something that is no manifest",
                details=[response.text[:200]],
                next_step=f"check image.repository: {self._repository}",
            ) from None
        config = data.get("config", {}).get("digest", "") if isinstance(data, dict) else ""
        return Manifest(
            digest=f"sha256:{hashlib.sha256(response.content).hexdigest()}",
            media_type=response.headers.get("Content-Type", _TYPES[1]).partition(";")[0],
            body=response.content,
            config=str(config),
        )

    def put(self, tag: str, manifest: Manifest) -> None:
        """Give `tag` to what `manifest` describes, which the registry has already. Raises RegistryError."""
        response = self._request("PUT", tag, content=manifest.body, content_type=manifest.media_type)
        self._check(response, f"tag {self._repository}:{tag}")

    def _request(self, method: str, reference: str, *, content: bytes = b"", content_type: str = "") -> httpx2.Response:
        response = self._send(method, reference, content, content_type)
        if response.status_code == 401 and self._authorize(response.headers.get("WWW-Authenticate", "")):
            response = self._send(method, reference, content, content_type)
        return response

    def _send(self, method: str, reference: str, content: bytes, content_type: str) -> httpx2.Response:
        headers = {"Content-Type": content_type} if content_type else {"Accept": ", ".join(_TYPES)}
        path = f"/v2/{self._repository.path}/manifests/{reference}"
        return self._reach(method, path, headers, content)

    def _reach(self, method: str, path: str, headers: Mapping[str, str], content: bytes) -> httpx2.Response:
        """Send it to the address that answers; the first that did is kept."""
        import httpx2

        failed: Exception | None = None
        for address in list(self._addresses):
            try:
                response = self._client.request(
                    method,
                    address + path,
                    authorization=self._authorization,
                    headers=headers,
                    content=content or None,
                )
            except httpx2.TransportError as error:
                failed = failed or error
                continue
            self._addresses = [address]
            return response
        raise self._unreachable(failed)

    def _unreachable(self, error: Exception | None) -> RegistryError:
        text = str(error) or type(error).__name__
        name = self._repository.registry
        if "certificate" in text.lower() or "ssl" in text.lower():
            return RegistryError(
                f"the registry {name} can't be trusted, or speaks plain HTTP",
                details=[text],
                next_step="set SSL_CERT_FILE to your CA bundle, or image.insecure = true for plain HTTP",
            )
        return Unavailable(
            f"the registry {name} can't be reached", details=[text], next_step=f"curl -v https://{name}/v2/"
        )

    def _authorize(self, challenge: str) -> bool:
        """Get what the registry wants to see; False when there is nothing to show."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic" and self.credentials is not None and not self.credentials.identity:
            self._authorization = basic(self.credentials.user, self.credentials.secret.reveal())
            return True
        if scheme.lower() == "bearer":
            self._authorization = f"Bearer {self._token(dict(_PARAMETER.findall(rest)))}"
            return True
        return False

    def _token(self, wanted: Mapping[str, str]) -> str:
        import httpx2

        realm = wanted.get("realm", "")
        self._check_realm(realm)
        asked = {name: wanted[name] for name in ("service",) if name in wanted}
        asked["scope"] = f"repository:{self._repository.path}:pull,push"
        credentials = self.credentials
        try:
            if credentials is not None and credentials.identity:
                form = asked | {"grant_type": "refresh_token", "client_id": "deploykit"}
                form |= {"refresh_token": credentials.secret.reveal()}
                response = self._client.request("POST", realm, data=form)
            else:
                known = basic(credentials.user, credentials.secret.reveal()) if credentials is not None else ""
                response = self._client.request("GET", realm, params=asked, authorization=known)
        except httpx2.TransportError as error:
            raise Unavailable(
                f"the token server of {self._repository.registry} can't be reached", details=[realm, str(error)]
            ) from None
        self._check(response, f"log in at {realm}")
        try:
            answer: Any = response.json()
            return str(answer.get("token") or answer["access_token"])
        except (ValueError, KeyError, AttributeError):
            raise RegistryError(f"the token server {realm} answered without a token") from None

    def _check_realm(self, realm: str) -> None:
        """Raises CredentialKept where the login is not to be shown: see the module."""
        import httpx2

        name = self._repository.registry
        try:
            server, own = httpx2.URL(realm), httpx2.URL(self._addresses[0])
        except httpx2.InvalidURL:
            raise RegistryError(f"{name} wants a login at {realm!r}, which is no address") from None
        if server.scheme == "https" and server.host in {own.host, *self._token_hosts}:
            return
        if (server.scheme, server.netloc) == (own.scheme, own.netloc):
            return
        if server.scheme != "https":
            raise CredentialKept(
                f"{name} wants its login sent to {shown(realm)}, which is not https: it was not sent",
                next_step=f"have the registry name its token server by https, then: docker login {name}",
            )
        raise CredentialKept(
            f"{name} wants its login sent to {shown(realm)}, which is another host: it was not sent",
            next_step=f'where that is its token server, set image.token_host = "{server.host}" in [tool.deploykit]',
        )

    def _check(self, response: httpx2.Response, what: str) -> None:
        code = response.status_code
        if code < 400:
            return
        name = self._repository.registry
        details = [f"HTTP {code}", *_errors(response)]
        if code == 401:
            step = f"docker login {name}"
            if self.credentials is None:
                raise Refused(
                    f"{name} wants a login to {what}, and docker has none for it", details=details, next_step=step
                )
            raise Refused(f"{name} does not accept the login that docker has for it", details=details, next_step=step)
        if code == 403:
            raise Refused(
                f"{name} does not allow {self.credentials.user if self.credentials else 'anybody'} to {what}",
                details=details,
                next_step="ask the registry's owner for the right to push",
            )
        if code == 429 or code >= 500:
            raise Unavailable(
                f"{name} could not {what} (HTTP {code})",
                details=details,
                next_step="look at the registry's own log and disk",
            )
        raise RegistryError(f"{name} refused to {what} (HTTP {code})", details=details)


def _errors(response: httpx2.Response) -> list[str]:
    """The registry's own words: `errors` of the specification, else the start of the body."""
    if response.request.method == "HEAD":
        return []
    try:
        errors = json.loads(response.content)["errors"]
        return [f"{error.get('code', '')}: {error.get('message', '')} {_detail(error)}".strip() for error in errors][:5]
    except (ValueError, KeyError, TypeError, AttributeError):
        return [" ".join(response.text.split())[:200]] if response.text.strip() else []


def _hostname(host: str) -> str:
    return re.sub(r":\d+$", "", host).strip("[]")


def _detail(error: Mapping[str, Any]) -> str:
    return json.dumps(error["detail"])[:200] if error.get("detail") else ""
