"""The protocol of the supervisor.

One JSON object and a line feed each way, one request a connection, on a Unix socket that only its owner can reach. A
request that takes time is answered first by `{"wait": seconds}`, the longest it may take from now on; then by
`{"ok": value}` or `{"error": {"kind": word, "message": sentence}}`.
"""

from __future__ import annotations

import contextlib
import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from typing import Any

PROTOCOL = 2
ANOTHER_RUNS = 3  # the exit code of a start when the folder already has a supervisor
_REQUEST_LIMIT = 16_000_000
_SEND_SECONDS = 5.0


class Refused(Exception):
    """The request can't be done; `kind` is for programs, the message for people."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Connection:
    """One client, one request, one answer."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = b""

    def receive(self) -> dict[str, Any] | None:
        """The request once it is whole, else None. Raises EOFError when there will be none."""
        try:
            data = self.sock.recv(1 << 20)
        except BlockingIOError:
            return None
        except OSError as error:
            raise EOFError from error
        self.received += data
        if not data or len(self.received) > _REQUEST_LIMIT:
            raise EOFError
        if not self.received.endswith(b"\n"):
            return None
        request = json.loads(self.received)
        if not isinstance(request, dict):
            raise EOFError  # noqa: TRY004 - what a client sent, not an argument
        return request

    def wait(self, seconds: float) -> None:
        """Announce how long the answer may take."""
        self._send({"wait": seconds})

    def answer(self, value: Any) -> None:
        self._send({"ok": value})
        self.sock.close()

    def refuse(self, kind: str, message: str) -> None:
        self._send({"error": {"kind": kind, "message": message}})
        self.sock.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        """Send it. A client that has gone does not matter to the work."""
        with contextlib.suppress(OSError):
            self.sock.settimeout(_SEND_SECONDS)
            self.sock.sendall(json.dumps(message).encode() + b"\n")
