"""The client of one Docker Engine.

Most of what a release asks is asked without Docker's SDK, which costs a tenth of a second to import (see `direct.py`);
the rest, and engines elsewhere, are asked through it. Every error becomes an `EngineError`, which says what the engine said. An engine behind ssh is reached through a tunnel (see `tunnel.py`), not by the SDK's
own ssh transport: that one needs paramiko even where it runs the ssh command, has no time limits, and can't forward
the port on which an instance answers.
"""

# ruff: noqa: SLF001 - the SDK has no public way to a stream that can be ended

from __future__ import annotations

import contextlib
import http.client
import importlib
import importlib.util
import inspect
import os
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from deploykit.model import DeploykitError, UsageError
from deploykit.process.docker.direct import DirectEngine, RefusedError, configuration
from deploykit.process.docker.tunnel import Tunnel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Engine", "EngineError", "EngineUnreachable", "Stream"]

_DEFAULT = "unix:///var/run/docker.sock"
_OLDEST = (1, 41)
_SECONDS = 60.0
_ASKED_AGAIN = 0.2
_CONFLICT, _NOT_FOUND = 409, 404


class EngineError(DeploykitError):
    """The engine refused. `status` is its HTTP status, 0 when there was none."""

    status: int = 0

    @property
    def not_found(self) -> bool:
        return self.status == _NOT_FOUND

    @property
    def conflict(self) -> bool:
        return self.status == _CONFLICT


class EngineUnreachable(EngineError):
    """Nobody answers where the engine should be."""


class Engine:
    """One engine. `host` as in `DOCKER_HOST`; empty: by that variable, else by Docker's current context.

    `environ` is where `DOCKER_HOST`, `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH` are read. `ssh` is the argv that starts
    ssh. Not shared between processes; threads may share it.
    """

    def __init__(
        self,
        host: str = "",
        *,
        environ: Mapping[str, str] | None = None,
        ssh: Sequence[str] = ("ssh",),
        timeout: float = _SECONDS,
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._named = host or self._environ.get("DOCKER_HOST", "")
        self._ssh = tuple(ssh)
        self._timeout = timeout
        self._api: Any = None
        self._direct: DirectEngine | None = None
        self._base = ""
        self._answered = float("-inf")
        self._tunnel: Tunnel | None = None
        self._turn = threading.Lock()

    # ---- where it is

    @property
    def host(self) -> str:
        """The address, for people to read."""
        return self._named or self._context().get("host") or _DEFAULT

    @property
    def scheme(self) -> str:
        return urlsplit(self.host).scheme

    @property
    def shares_our_network(self) -> bool:
        """Whether an address on one of the engine's networks can be reached from here: an engine on this Linux."""
        return self.scheme in {"unix", "http+unix"} and sys.platform.startswith("linux")

    def published_on(self) -> str:
        """The address of the engine's machine on which a port is published for the kit alone.

        Loopback, or for an engine over TCP the address on which it answers itself: its loopback is not ours.
        """
        if self.scheme not in {"tcp", "http", "https"}:
            return "127.0.0.1"
        name = urlsplit(self.host).hostname or "127.0.0.1"
        try:
            return str(socket.getaddrinfo(name, None, socket.AF_INET)[0][4][0])
        except OSError:
            raise EngineUnreachable(f"{name}, the host of the Docker Engine, has no address") from None

    def reach(self, published: int) -> tuple[str, int]:
        """Where a port that is published on the engine's machine is reached from here."""
        if self._tunnel is not None:
            return "127.0.0.1", self._tunnel.forward(published)
        return self.published_on(), published

    # ---- asking

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """A method of the SDK's `APIClient`. Raises EngineError (`not_found`, `conflict`), EngineUnreachable."""
        with self._translated():
            act = getattr(self._near(), method, None)
            if act is not None and _takes(act, arguments, options):
                answer = act(*arguments, **options)
                if answer is not NotImplemented:
                    return answer
        api = self._connected()
        with self._translated():
            return getattr(api, method)(*arguments, **options)

    def find(self, method: str, *arguments: Any, **options: Any) -> Any:
        """The same, None for what is not there."""
        try:
            return self.call(method, *arguments, **options)
        except EngineError as error:
            if error.not_found:
                return None
            raise

    def push(self, repository: str, tag: str, login: bytes, *, silence: float) -> str | None:
        """What the engine tells of a push, a JSON object a line; None where it is not near: a docker command knows the way.

        `login` is what the header X-Registry-Auth wants. Raises EngineError, also when nothing was told for `silence` seconds.
        """
        with self._translated():
            near = self._near()
            try:
                return near.push(repository, tag, login, silence=silence) if near is not None else None
            except TimeoutError:
                raise EngineError(
                    f"the Docker Engine at {self.host} told nothing of the push for {silence:g} s"
                ) from None

    def containers(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """What is known of all containers with these labels, those that ended included."""
        wanted = [f"{name}={value}" for name, value in labels.items()]
        found: list[dict[str, Any]] = self.call("containers", all=True, filters={"label": wanted})
        return found

    def log(self, container: str, *, since: int = 0, tail: int | str = "all", timestamps: bool = False) -> Stream:
        """The container's log, followed until it ends.

        Not by the SDK's `logs`: it forgets its connection when the container is removed while it looks for a terminal.
        """
        api = self._connected()
        parameters = {
            "stdout": 1,
            "stderr": 1,
            "follow": 1,
            "tail": tail,
            "since": since,
            "timestamps": int(timestamps),
        }
        with self._translated():
            # A connection of its own: the stream ends its socket, which must not be found dead in the pool by somebody else.
            response = api._get(
                api._url("/containers/{0}/logs", container),
                params=parameters,
                headers={"Connection": "close"},
                stream=True,
            )
            try:
                api._raise_for_status(response)
            except BaseException:
                response.close()
                raise
            return Stream(response, api._multiplexed_response_stream_helper(response))

    def problem(self) -> DeploykitError | None:
        """Why nothing can be done here; None when something can."""
        if time.monotonic() - self._answered < _ASKED_AGAIN:
            return None  # target, edge and accessories ask, one after the other
        try:
            if importlib.util.find_spec("docker") is None:
                raise _no_sdk()
            found = self._kind()
        except DeploykitError as error:
            return error
        version = tuple(int(part) for part in found["ApiVersion"].split("."))
        if version < _OLDEST:
            return UsageError(
                f"the Docker Engine at {self.host} is too old: API {found['ApiVersion']}, 1.41 is needed",
                next_step="install Docker 20.10 or later",
            )
        if found.get("Os") != "linux":
            return UsageError(
                f"the Docker Engine at {self.host} runs {found.get('Os')} containers",
                next_step="switch it to Linux containers",
            )
        self._answered = time.monotonic()
        return None

    def _kind(self) -> Mapping[str, Any]:
        """At least `ApiVersion` and `Os`."""
        with self._translated():
            near = self._near()
            kind = near.kind() if near is not None else {}
        return kind if all(kind.values()) and kind else self.call("version")

    def close(self) -> None:
        if self._api is not None:
            self._api.close()
            self._api = None
        if self._direct is not None:
            self._direct.close()
            self._direct = None
        if self._tunnel is not None:
            self._tunnel.close()
            self._tunnel = None
        self._base = ""

    # ---- the connection

    def _context(self) -> dict[str, Any]:
        """Docker's current context: Docker Desktop, colima and others are found by it alone."""
        named = self._environ.get("DOCKER_CONTEXT") or configuration(self._environ).get("currentContext")
        if not named or named == "default":
            return {}
        with contextlib.suppress(Exception):  # a context that can't be read is none
            context = _sdk("docker.context").ContextAPI.get_current_context()
            if context is not None and context.name != "default":
                return {"host": context.Host, "tls": context.TLSConfig}
        return {}

    def _near(self) -> DirectEngine | None:
        """Who asks an engine on a Unix socket, which may be the near end of an ssh tunnel; None: it is elsewhere."""
        with self._turn:
            if self._direct is None and (path := self._located().partition("unix://")[2]):
                self._direct = DirectEngine("/" + path.lstrip("/"), self._timeout, self._environ)
            return self._direct

    def _located(self) -> str:
        """The address to connect to; the tunnel is opened where one is needed."""
        if not self._base:
            base = self.host
            if urlsplit(base).scheme == "ssh":
                self._tunnel = Tunnel(base, ssh=self._ssh)
                base = f"unix://{self._tunnel.open()}"
            self._base = base
        return self._base

    def _connected(self) -> Any:
        with self._turn:
            return self._api if self._api is not None else self._connect()

    def _connect(self) -> Any:
        docker = _sdk("docker")
        options: dict[str, Any] = {"version": "auto", "timeout": self._timeout}
        if self._named:
            options["base_url"] = self._named
            if self.scheme == "tcp":
                with self._translated():
                    known = {**self._environ, "DOCKER_HOST": self._named}
                    options |= docker.utils.kwargs_from_env(environment=known)
        else:
            context = self._context()
            options["base_url"] = context.get("host") or _DEFAULT
            if context.get("tls"):
                options["tls"] = context["tls"]
        if self._located().startswith("unix://"):
            options["base_url"] = self._located()
        with self._translated():
            if (path := options["base_url"].partition("unix://")[2]) and not path.startswith("//"):
                with socket.socket(socket.AF_UNIX) as probe:  # the SDK leaves a socket open when nobody answers
                    probe.connect(path)
            self._api = _client_class(docker)(**options)
        return self._api

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except RefusedError as error:
            raise _refused(str(error), error.status) from None
        except (
            OSError,
            http.client.HTTPException,
        ) as error:  # the SDK's and those of requests are OSErrors, most of them
            raise self._error(error) from None
        except Exception as error:
            if not _is_sdks(error):
                raise
            raise self._error(error) from None

    def _error(self, error: Exception) -> EngineError:
        if _is_sdks(error) and hasattr(error, "explanation"):
            status = getattr(error, "status_code", 0)
            return _refused(str(error.explanation or error), int(status or 0))
        if isinstance(error, TimeoutError) or type(error).__name__ == "ReadTimeout":
            return EngineError(
                f"the Docker Engine at {self.host} did not answer within {self._timeout:g} s", next_step="docker info"
            )
        return EngineUnreachable(
            f"no Docker Engine answers at {self.host}",
            details=(_first_line(str(error)),),
            next_step="start Docker (`systemctl start docker`, or Docker Desktop), or set DOCKER_HOST",
        )


def _client_class(docker: Any) -> Any:
    """The SDK's client, but deaf to what the environment says about HTTP in general.

    With REQUESTS_CA_BUNDLE set, as in many a company, requests would hold an engine's certificate against that bundle
    instead of the engine's own authority (psf/requests#3829). It also must not ask a proxy for an engine.
    """
    deaf = property(lambda _client: False, lambda _client, _value: None)
    return type("Client", (docker.APIClient,), {"trust_env": deaf})


class Stream:
    """Pieces of bytes as they come. One thread reads it, any thread may end it."""

    def __init__(self, response: Any, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._response = response
        self._socket = response.raw._fp.fp.raw._sock

    def __iter__(self) -> Iterator[bytes]:
        """Ends when the engine has no more, and when the stream is ended from this side or by a fault."""
        try:
            with contextlib.suppress(Exception):  # an ended socket: urllib3 and the SDK trip over missing parts
                yield from self._pieces
        finally:
            self.end()
            self._response.close()
            if self._socket.fileno() != -1:  # urllib3 forgets it when it was ended by another thread
                os.close(self._socket.detach())

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _sdk(module: str) -> Any:
    """A module of Docker's SDK, which belongs to the extra `docker`."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise _no_sdk() from None


def _no_sdk() -> UsageError:
    return UsageError("Docker's Python SDK is not installed", next_step="pip install 'deploykit[docker]'")


def _takes(act: Any, arguments: Sequence[Any], options: Mapping[str, Any]) -> bool:
    try:
        inspect.signature(act).bind(*arguments, **options)
    except TypeError:
        return False
    return True


def _is_sdks(error: Exception) -> bool:
    """Whether it is one of the SDK's errors; they can't be named before it is imported."""
    return type(error).__module__.partition(".")[0] in {"docker", "requests", "urllib3"}


def _refused(said: str, status: int) -> EngineError:
    error = EngineError(_first_line(said))
    error.status = status
    return error
