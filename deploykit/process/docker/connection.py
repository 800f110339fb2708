"""Where an engine is, and the SDK's client of it.

An engine behind ssh is reached through a tunnel (`tunnel.py`), not by the SDK's own ssh transport: that one needs
paramiko even where it runs the ssh command, has no time limits, and can't forward the port on which an instance
answers.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from deploykit.model import DeploykitError, UsageError
from deploykit.process.docker.errors import EngineError, EngineUnreachable
from deploykit.process.docker.tunnel import Tunnel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import ModuleType

__all__ = ["Connection"]

_DEFAULT = "unix:///var/run/docker.sock"
_OLDEST, _NEWEST = (1, 41), (1, 44)
"""Versions of the API: that of Docker 20.10, and the one of Docker 25, which is the oldest that Docker 29 speaks."""
_SECONDS = 60.0


class Connection:
    """The way to one engine. `host` as in `DOCKER_HOST`; empty: by that variable, else by Docker's current context.

    `environ` is where `DOCKER_HOST`, `DOCKER_CONTEXT`, `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH` are read. `ssh` is
    the argv that starts ssh; `timeout` seconds are what an answer may take. Threads may share it, processes may not.
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
        self._configured_host = host or self._environ.get("DOCKER_HOST", "")
        self._ssh = tuple(ssh)
        self._timeout = timeout
        self._tunnel: Tunnel | None = None
        self._base_url = ""
        self._api: Any = None
        self._options: dict[str, Any] = {}
        self._lock = threading.Lock()

    @property
    def host(self) -> str:
        """The address, for people to read."""
        return self._configured_host or self._context[0] or _DEFAULT

    @property
    def scheme(self) -> str:
        try:
            return urlsplit(self.host).scheme
        except ValueError as error:
            raise UsageError(
                f"{self.host} is no address of a Docker Engine: {error}",
                next_step="correct DOCKER_HOST, or host in the settings of the environment",
            ) from None

    @property
    def shares_our_network(self) -> bool:
        """Whether an address on one of the engine's networks can be reached from here: an engine on this Linux."""
        return self.scheme in {"unix", "http+unix"} and sys.platform.startswith("linux")

    def publish_address(self) -> str:
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
        return self.publish_address(), published

    def problem(self) -> DeploykitError | None:
        """Why nothing can be done here; None when something can."""
        try:
            with self._api_call() as api:
                self._api_version(api)
        except DeploykitError as error:
            return error
        return None

    def close(self) -> None:
        if self._api is not None:
            self._api.close()
            self._api = None
        if self._tunnel is not None:
            self._tunnel.close()
            self._tunnel = None

    @cached_property
    def _context(self) -> tuple[str, Any]:
        """(host, TLS) of Docker's context: Docker Desktop, colima and others are found by it alone."""
        try:
            found: tuple[str, Any] = _sdk().context(self._environ.get("DOCKER_CONTEXT", ""))
        except UsageError:
            return "", False
        return found

    @contextlib.contextmanager
    def _api_call(self, timeout: float | None = None) -> Iterator[Any]:
        api = self._connected()
        with self._translated(timeout if timeout is not None else self._timeout):
            yield api

    def _translated(self, timeout: float) -> contextlib.AbstractContextManager[None]:
        translated: contextlib.AbstractContextManager[None] = _sdk().translated(self.host, timeout)
        return translated

    def _connected(self) -> Any:
        with self._lock:
            if self._api is None:
                sdk = _sdk()
                with self._translated(self._timeout):
                    where = {"base_url": self._located(), "tls": self._tls()}
                    _check_reachable(where["base_url"])
                    first = sdk.client(**where, version=_text(_OLDEST), timeout=self._timeout)
                    with contextlib.closing(first):
                        self._options = {**where, "version": self._api_version(first)}
                    self._api = sdk.client(**self._options, timeout=self._timeout)
            return self._api

    def _client(self, timeout: float) -> Any:
        """One more, for answers that take longer, or less long; it must be closed."""
        self._connected()
        return _sdk().client(**self._options, timeout=timeout)

    def _located(self) -> str:
        """The address to connect to; the tunnel is opened where one is needed."""
        if self.scheme != "ssh":
            return self.host
        if self._tunnel is None:
            tunnel = Tunnel(self.host, ssh=self._ssh)
            self._base_url = f"unix://{tunnel.open()}"
            self._tunnel = tunnel
        return self._base_url

    def _tls(self) -> Any:
        if not self._configured_host:
            return self._context[1]
        return _sdk().tls_of(self._configured_host, self._environ) if self.scheme == "tcp" else False

    def _api_version(self, api: Any) -> str:
        """The version of its API that is spoken to it. Raises UsageError when it is not one that can be used."""
        headers = _sdk().ping(api)
        found = str(headers.get("Api-Version", ""))
        if not re.fullmatch(r"\d+\.\d+", found):
            raise EngineError(f"what answers at {self.host} is no Docker Engine", next_step="docker info")
        version = tuple(int(part) for part in found.split("."))
        if version < _OLDEST:
            raise UsageError(
                f"the Docker Engine at {self.host} is too old: API {found}, {_text(_OLDEST)} is needed",
                next_step="install Docker 20.10 or later",
            )
        if (kind := headers.get("OSType", "linux")) != "linux":
            raise UsageError(
                f"the Docker Engine at {self.host} runs {kind} containers", next_step="switch it to Linux containers"
            )
        return _text(min(version, _NEWEST))


def _sdk() -> ModuleType:
    """The module that imports Docker's SDK, which belongs to the extra `docker`."""
    try:
        from deploykit.process.docker import sdk
    except ImportError:
        raise UsageError("Docker's Python SDK is not installed", next_step="pip install 'deploykit[docker]'") from None
    return sdk


def _check_reachable(base_url: str) -> None:
    """Raise OSError if no process listens there. The SDK would leave its socket open then."""
    path = base_url.partition("unix://")[2]
    if path:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect("/" + path.lstrip("/"))


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
