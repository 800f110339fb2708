"""What a release asks of an engine on a Unix socket, said by the standard library.

Docker's SDK takes a tenth of a second of processor time to import, and most of a millisecond more for each question: of a
release that was a quarter. So the calls that every command makes are made here, by the SDK's names, with its arguments and
its answers. An argument that a method here does not take is the SDK's to answer, as is `NotImplemented`; and so is
everything that is rarely asked, and for engines elsewhere.

https://docs.docker.com/reference/api/engine/
"""

from __future__ import annotations

import http.client
import json
import os
import select
import socket
import threading
import weakref
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from email.message import Message

__all__ = ["DirectEngine", "RefusedError", "configuration"]

_HEAD = 8
"""Bytes before each piece of output: the stream, three of nothing, four for the size."""
_HOST_OPTIONS = {
    "network_mode": "NetworkMode",
    "restart_policy": "RestartPolicy",
    "binds": "Binds",
    "log_config": "LogConfig",
    "security_opt": "SecurityOpt",
    "cap_drop": "CapDrop",
    "cap_add": "CapAdd",
    "init": "Init",
    "mem_limit": "Memory",
    "nano_cpus": "NanoCpus",
    "pids_limit": "PidsLimit",
    "port_bindings": "PortBindings",
}


class RefusedError(Exception):
    """The engine said no. `status` is its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(self._path)
        except BaseException:
            self.close()
            raise

    @property
    def dropped(self) -> bool:
        """Whether the engine has closed it meanwhile (it was started again): nothing is to be said on it any more."""
        return self.sock is None or bool(select.select([self.sock], [], [], 0)[0])


class DirectEngine:
    """The engine at a socket. Threads may share it. Raises RefusedError, TimeoutError, OSError and HTTPException."""

    def __init__(self, path: str, timeout: float, environ: Mapping[str, str]) -> None:
        self._path = path
        self._timeout = timeout
        self._idle: list[_Connection] = []
        weakref.finalize(self, _close, self._idle)
        self._turn = threading.Lock()
        self._version = ""
        # Variables that Docker's own configuration gives to every container: the SDK knows how.
        self._gives_variables = bool(configuration(environ).get("proxies"))

    def close(self) -> None:
        with self._turn:
            _close(self._idle)

    # ---- the engine, images, networks, volumes

    def version(self) -> Any:
        return self._json("GET", "/version")

    def kind(self) -> dict[str, str]:
        """`ApiVersion` and `Os` of `version`, from the headers of a ping.

        For its version an engine asks runc and others for theirs, which are programs: 20 ms of a processor while it builds.
        """
        headers = self._ping()
        return {"ApiVersion": headers.get("Api-Version") or "", "Os": headers.get("OSType") or ""}

    def images(self, *, filters: Mapping[str, Any]) -> Any:
        return self._json("GET", "/images/json", {"filters": _filters(filters)})

    def inspect_image(self, image: str) -> Any:
        return self._json("GET", f"/images/{_quoted(image)}/json")

    def tag(self, image: str, repository: str, tag: str) -> bool:
        self._ask("POST", f"/images/{_quoted(image)}/tag", {"repo": repository, "tag": tag})
        return True

    def push(self, repository: str, tag: str, login: bytes, *, silence: float) -> str:
        """What the engine tells of the push, a JSON object a line; nothing for `silence` seconds is a TimeoutError."""
        path = f"/images/{_quoted(repository)}/push"
        return self._ask(
            "POST", path, {"tag": tag}, timeout=silence, headers={"X-Registry-Auth": login.decode()}
        ).decode()

    def remove_image(self, image: str, *, force: bool = False) -> Any:
        return self._json("DELETE", f"/images/{_quoted(image)}", {"force": force})

    def inspect_network(self, network: str) -> Any:
        return self._json("GET", f"/networks/{_quoted(network)}")

    def inspect_volume(self, volume: str) -> Any:
        return self._json("GET", f"/volumes/{_quoted(volume)}")

    def create_volume(self, name: str, *, labels: Mapping[str, str]) -> Any:
        return self._json("POST", "/volumes/create", body={"Name": name, "Labels": dict(labels)})

    # ---- containers

    def containers(self, *, all: bool, filters: Mapping[str, Any]) -> Any:  # noqa: A002 - the SDK's name
        return self._json("GET", "/containers/json", {"all": all, "filters": _filters(filters)})

    def inspect_container(self, container: str) -> Any:
        return self._json("GET", f"/containers/{_quoted(container)}/json")

    def create_container(  # noqa: PLR0913 - by keyword
        self,
        image: str,
        command: Sequence[str] | None = None,
        *,
        name: str,
        labels: Mapping[str, str],
        entrypoint: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        working_dir: str | None = None,
        ports: Sequence[int] | None = None,
        user: str | None = None,
        stop_signal: str | None = None,
        stop_timeout: int | None = None,
        host_config: Mapping[str, Any] | None = None,
        networking_config: Mapping[str, Any] | None = None,
    ) -> Any:
        if self._gives_variables:
            return NotImplemented
        body: dict[str, Any] = {
            "Image": image,
            "Cmd": command,
            "Entrypoint": entrypoint,
            "Env": [f"{key}={value}" for key, value in environment.items()] if environment is not None else None,
            "Labels": dict(labels),
            "WorkingDir": working_dir,
            "ExposedPorts": {f"{port}/tcp": {} for port in ports} if ports else None,
            "User": user,
            "StopSignal": stop_signal,
            "StopTimeout": stop_timeout,
            "AttachStdout": True,
            "AttachStderr": True,
            "HostConfig": host_config,
            "NetworkingConfig": networking_config,
        }
        said = {key: value for key, value in body.items() if value is not None}
        return self._json("POST", "/containers/create", {"name": name}, body=said)

    def create_host_config(self, **options: Any) -> Any:
        if options.keys() - _HOST_OPTIONS.keys():
            return NotImplemented
        made = {_HOST_OPTIONS[name]: value for name, value in options.items() if value is not None}
        if bound := made.get("PortBindings"):
            made["PortBindings"] = {
                f"{port}/tcp": [{"HostIp": host, "HostPort": "" if published is None else str(published)}]
                for port, (host, published) in bound.items()
            }
        return made

    def create_endpoint_config(self, *, ipv4_address: str = "", aliases: Sequence[str] = ()) -> dict[str, Any]:
        made: dict[str, Any] = {"Aliases": list(aliases)} if aliases else {}
        return made | ({"IPAMConfig": {"IPv4Address": ipv4_address}} if ipv4_address else {})

    def create_networking_config(self, endpoints: Mapping[str, Any]) -> dict[str, Any]:
        return {"EndpointsConfig": dict(endpoints)}

    def start(self, container: str) -> None:
        self._ask("POST", f"/containers/{_quoted(container)}/start")

    def kill(self, container: str, signal: str) -> None:
        self._ask("POST", f"/containers/{_quoted(container)}/kill", {"signal": signal})

    def wait(self, container: str, *, timeout: float | None = None) -> Any:
        return json.loads(self._ask("POST", f"/containers/{_quoted(container)}/wait", timeout=timeout))

    def update_container(self, container: str, *, restart_policy: Mapping[str, Any]) -> Any:
        body = {"RestartPolicy": dict(restart_policy)}
        return self._json("POST", f"/containers/{_quoted(container)}/update", body=body)

    def rename(self, container: str, name: str) -> None:
        self._ask("POST", f"/containers/{_quoted(container)}/rename", {"name": name})

    def remove_container(self, container: str, *, force: bool = False, v: bool = False) -> None:
        self._ask("DELETE", f"/containers/{_quoted(container)}", {"force": force, "v": v})

    def logs(self, container: str, *, tail: int | str = "all", since: int = 0) -> bytes:
        """All that it has printed so far. The kit's containers have no terminal, so it comes in pieces."""
        query = {"stdout": True, "stderr": True, "tail": tail, **({"since": since} if since else {})}
        return _joined(self._ask("GET", f"/containers/{_quoted(container)}/logs", query))

    def put_archive(self, container: str, path: str, data: bytes) -> bool:
        self._ask("PUT", f"/containers/{_quoted(container)}/archive", {"path": path}, data=data)
        return True

    # ---- commands in containers

    def exec_create(
        self, container: str, argv: Sequence[str], *, stdin: bool = False, user: str = "", workdir: str | None = None
    ) -> Any:
        body = {
            "AttachStdin": stdin,
            "AttachStdout": True,
            "AttachStderr": True,
            "Cmd": list(argv),
            "User": user,
            **({"WorkingDir": workdir} if workdir is not None else {}),
        }
        return self._json("POST", f"/containers/{_quoted(container)}/exec", body=body)

    def exec_inspect(self, command: str) -> Any:
        return self._json("GET", f"/exec/{_quoted(command)}/json")

    def exec_start(self, command: str, *, socket: bool = False) -> Any:
        """What it printed when it has ended; or, with `socket`, the connection to it."""
        url = self._url(f"/exec/{_quoted(command)}/start")
        connection = _Connection(self._path, self._timeout)
        try:
            body = json.dumps({"Detach": False, "Tty": False})
            headers = {"Content-Type": "application/json", "Connection": "Upgrade", "Upgrade": "tcp"}
            connection.request("POST", url, body, headers)
            taken = connection.sock
            status, head = _head(taken)
            if status >= http.client.BAD_REQUEST:
                raise RefusedError(status, _message(_rest(taken, head)))
            if socket:
                connection.sock = None  # it is the caller's now
                return taken
            taken.settimeout(None)
            return _joined(_rest(taken, {}))
        finally:
            connection.close()

    # ---- one question

    def _url(self, path: str) -> str:
        if not self._version:
            self._version = self._ping().get("Api-Version") or "1.41"
        return f"/v{self._version}{path}"

    def _ping(self) -> Message:
        connection = self._connection()
        try:
            connection.request("GET", "/_ping")
            answer = connection.getresponse()
            said = answer.read()
        except BaseException:
            connection.close()
            raise
        self._done(connection, answer)
        if answer.status >= http.client.BAD_REQUEST:
            raise RefusedError(answer.status, _message(said))
        return answer.headers

    def _json(self, method: str, path: str, query: Mapping[str, Any] | None = None, *, body: Any = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        return json.loads(self._ask(method, path, query, data=data, content="application/json"))

    def _ask(  # noqa: PLR0913 - by keyword
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        *,
        data: bytes | None = None,
        content: str = "application/x-tar",
        timeout: float | None = -1.0,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> bytes:
        url = self._url(path)
        if query:
            url += "?" + urlencode(
                {key: int(value) if isinstance(value, bool) else value for key, value in query.items()}
            )
        connection = self._connection()
        if timeout != -1.0 and connection.sock is not None:
            connection.sock.settimeout(timeout)
        elif timeout != -1.0:
            connection.timeout = timeout
        try:
            kind = {"Content-Type": content} if data is not None else {}
            connection.request(method, url, data, {**kind, **headers})
            answer = connection.getresponse()
            said = answer.read()
        except BaseException:
            connection.close()  # what is still to come on it answers nobody's question
            raise
        self._done(connection, answer)
        if answer.status >= http.client.BAD_REQUEST:
            raise RefusedError(answer.status, _message(said))
        return said

    def _connection(self) -> _Connection:
        while True:
            with self._turn:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return _Connection(self._path, self._timeout)
            if not connection.dropped:
                return connection
            connection.close()

    def _done(self, connection: _Connection, answer: http.client.HTTPResponse) -> None:
        if answer.will_close or connection.sock is None:
            connection.close()
            return
        connection.timeout = self._timeout
        connection.sock.settimeout(self._timeout)
        with self._turn:
            self._idle.append(connection)


def _close(idle: list[_Connection]) -> None:
    while idle:
        idle.pop().close()


def configuration(environ: Mapping[str, str]) -> dict[str, Any]:
    """Docker's own configuration of this user; empty where there is none, or none that can be read."""
    folder = environ.get("DOCKER_CONFIG") or os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".docker")  # noqa: PTH111, PTH118 - pathlib raises where there is no home
    try:
        found = json.loads(Path(folder, "config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _filters(wanted: Mapping[str, Any]) -> str:
    """The engine wants lists of strings."""
    return json.dumps(
        {key: list(map(str, value)) if isinstance(value, list) else [str(value)] for key, value in wanted.items()}
    )


def _quoted(name: str) -> str:
    return quote(name, safe="/:")


def _message(said: bytes) -> str:
    try:
        return str(json.loads(said)["message"])
    except (ValueError, KeyError, TypeError):
        return said.decode("utf-8", "replace")


def _joined(said: bytes) -> bytes:
    """The output of a program, which comes in pieces with a head each."""
    pieces, at = [], 0
    while at + _HEAD <= len(said):
        end = at + _HEAD + int.from_bytes(said[at + 4 : at + _HEAD], "big")
        pieces.append(said[at + _HEAD : end])
        at = end
    return b"".join(pieces)


def _head(taken: socket.socket) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer whose connection becomes another one: not a byte more than that is read."""
    said = b""
    while not said.endswith(b"\r\n\r\n"):
        if not (piece := taken.recv(1)):
            msg = "the engine ended the connection"
            raise ConnectionResetError(msg)
        said += piece
    first, *lines = said.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
    return int(first.split()[1]), headers


def _rest(taken: socket.socket, headers: Mapping[str, str]) -> bytes:
    """All that comes, as far as its headers say, or until it ends."""
    left = int(headers.get("content-length", -1))
    said = b""
    while left < 0 or len(said) < left:
        if not (piece := taken.recv(65536)):
            break
        said += piece
    return said
