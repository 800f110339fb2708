"""The output of a program in a container, while it runs.

The one module that touches private attributes, of urllib3 and `http.client`: nothing public writes to a command's
input, or ends a log that another thread reads. Requests go by the public methods of the SDK's client, which is a
session of requests. The format of the frames:
https://docs.docker.com/reference/api/engine/version/v1.44/#tag/Container/operation/ContainerAttach
"""

# ruff: noqa: SLF001 - see above

from __future__ import annotations

import contextlib
import http.client
import os
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Stream", "attach", "follow_log", "start_command"]

_BLOCK = 65_536
_HEAD = 8
"""Bytes before each piece: where it was printed, three of nothing, four for the size."""


class Stream:
    """One thread reads it, any thread may end it.

    `timeout`: seconds to wait for each piece; None: for as long as it takes.
    """

    def __init__(self, response: Any, *, timeout: float | None = None) -> None:
        self._response = response
        buffer = response.raw._fp.fp
        self._socket: socket.socket = buffer.raw._sock
        self._socket.settimeout(timeout)
        # After an upgrade there is no HTTP any more, and the first output may be in the buffer already, behind the
        # headers.
        upgraded = response.status_code == http.client.SWITCHING_PROTOCOLS
        self._read = buffer.read if upgraded else response.raw.read
        self._read_some = buffer.read1

    def frame(self) -> tuple[int, bytes] | None:
        """The next piece, and where it was printed (1: standard output, 2: standard error); None at the end."""
        head = self._read(_HEAD)
        if len(head) < _HEAD:
            return None
        return head[0], self._read(int.from_bytes(head[4:], "big"))

    def __iter__(self) -> Iterator[bytes]:
        """All pieces. Ends when the engine has no more, and when the stream is ended from this side or by a fault."""
        try:
            with contextlib.suppress(Exception):  # an ended socket: its layers trip over missing parts
                while (frame := self.frame()) is not None:
                    yield frame[1]
        finally:
            self.close()

    def piece(self) -> bytes:
        """What comes next from a terminal, which has one output and no frames; nothing at the end."""
        return bytes(self._read_some(_BLOCK))

    def write(self, data: bytes) -> None:
        """To the command's standard input."""
        self._socket.sendall(data)

    def end_input(self) -> None:
        """Close the command's standard input; its output still comes."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it and let go of the connection; for the thread that reads."""
        self.end()
        with contextlib.suppress(Exception):  # its layers raise errors when one of them is closed
            self._response.close()
        if self._socket.fileno() != -1:  # urllib3 forgets it when it was ended by another thread
            os.close(self._socket.detach())


def follow_log(api: Any, container: str, *, since: int, tail: int | str, timestamps: bool) -> Stream:
    """Not by the SDK's `logs`: it forgets its connection when the container is removed while it looks
    for a terminal.
    """
    wanted = {"stdout": 1, "stderr": 1, "follow": 1, "tail": tail, "since": since, "timestamps": int(timestamps)}
    response = api.get(
        f"{api.base_url}/v{api.api_version}/containers/{quote(container)}/logs",
        params=wanted,
        # A connection of its own: its socket is ended, and must not be found dead in the pool by somebody else.
        headers={"Connection": "close"},
        stream=True,
        timeout=api.timeout,
    )
    return Stream(_checked(response))


def start_command(api: Any, command: str, *, timeout: float | None = None) -> Stream:
    """Start an exec that was created. Not by the SDK's `exec_start`: it loses what is printed before it looks."""
    response = api.post(
        f"{api.base_url}/v{api.api_version}/exec/{quote(command)}/start",
        json={"Detach": False, "Tty": False},
        headers={"Connection": "Upgrade", "Upgrade": "tcp"},
        stream=True,
        timeout=api.timeout,
    )
    return Stream(_checked(response), timeout=timeout)


def attach(api: Any, container: str) -> Stream:
    """The input and output of a container, from before its start on."""
    response = api.post(
        f"{api.base_url}/v{api.api_version}/containers/{quote(container)}/attach",
        params={"stream": 1, "stdin": 1, "stdout": 1, "stderr": 1},
        headers={"Connection": "Upgrade", "Upgrade": "tcp"},
        stream=True,
        timeout=api.timeout,
    )
    return Stream(_checked(response))


def _checked(response: Any) -> Any:
    if not response.ok:
        with response:
            _ = response.content  # reads the reason, which the error carries
            response.raise_for_status()
    return response
