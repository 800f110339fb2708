"""What the kit takes of Docker's SDK. To import it fails without the extra `docker`, and takes a tenth of a second.

Names are imported from the SDK, never the package alone: a folder `docker` on the import path, such as the one of a
repository with a `docker/Dockerfile`, would be taken for that.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from docker import APIClient
from docker.context import ContextAPI
from docker.errors import DockerException, StreamParseError
from docker.utils import kwargs_from_env
from requests.exceptions import HTTPError, ReadTimeout, RequestException
from urllib3.exceptions import HTTPError as TransportError
from urllib3.exceptions import ReadTimeoutError

from deploykit.process.docker.errors import (
    EngineConflict,
    EngineError,
    EngineNotFound,
    EngineTimedOut,
    EngineUnreachable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["client", "context", "ping", "tls_of", "translated"]

_KINDS = {404: EngineNotFound, 409: EngineConflict}


def client(base_url: str, *, tls: Any, version: str, timeout: float) -> APIClient:
    """A client that asks nothing yet. It must be closed."""
    made = APIClient(base_url=base_url, tls=tls, version=version, timeout=timeout)
    # With REQUESTS_CA_BUNDLE set, as in many a company, requests would hold an engine's certificate against that bundle
    # instead of the engine's own authority (psf/requests#3829). It also must not ask a proxy for an engine.
    made.trust_env = False
    # No engine sends on, and a push shows it the registry's login in a header of its own, which requests would repeat.
    made.max_redirects = 0
    return made


def tls_of(host: str, environ: Mapping[str, str]) -> Any:
    """What `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH` say; False without them."""
    return kwargs_from_env(environment={**environ, "DOCKER_HOST": host}).get("tls", False)


def context(name: str) -> tuple[str, Any]:
    """(host, TLS) of the Docker context of that name, or of the current one; ("", False) for the default one."""
    found = None
    with contextlib.suppress(Exception):  # a context that can't be read is none
        found = ContextAPI.get_context(name or None)
    if found is None or found.name == "default":
        return "", False
    return found.Host or "", found.TLSConfig or False


def ping(api: APIClient) -> Mapping[str, str]:
    """The headers of a ping: the engine's `Api-Version` and `OSType`.

    For its version an engine asks runc and others for theirs, which are programs.
    """
    answer = api.get(f"{api.base_url}/_ping", timeout=api.timeout)
    answer.raise_for_status()
    headers: Mapping[str, str] = answer.headers
    return headers


@contextlib.contextmanager
def translated(host: str, timeout: float) -> Iterator[None]:
    """What the SDK and its layers raise, as an EngineError."""
    try:
        yield
    except HTTPError as error:  # the SDK's own among them
        response: Any = error.response
        raise _KINDS.get(response.status_code, EngineError)(_first_line(_message(response))) from None
    except StreamParseError:
        raise EngineError(f"the answer of the Docker Engine at {host} can't be read", next_step="docker info") from None
    except (TimeoutError, ReadTimeout, ReadTimeoutError):
        raise EngineTimedOut(
            f"the Docker Engine at {host} did not answer within {timeout:g} s", next_step="docker info"
        ) from None
    except (OSError, RequestException, TransportError, DockerException) as error:
        raise EngineUnreachable(
            f"no Docker Engine answers at {host}",
            details=(_first_line(str(error)),),
            next_step="start Docker (`systemctl start docker`, or Docker Desktop), or set DOCKER_HOST",
        ) from None


def _message(response: Any) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return str(response.text or response.reason)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
