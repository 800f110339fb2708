"""Keep-alive clients that never retry, as fast as they are answered: python -m benchmarks.hammer HOST PORT CLIENTS

A process of its own, so that what measures does not slow down what asks. Every half second it prints a JSON line with
all that was seen so far; it ends when its standard input does.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections import Counter

from benchmarks.load import PAGE

__all__ = ["main"]

_SECONDS = 30.0
_REQUESTS = (
    b"GET / HTTP/1.1\r\nHost: hammer\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: hammer\r\nContent-Length: 1\r\n\r\nx",
)
"""The clients in turn: the proxy may send a GET again, and never a POST."""


class _Client(threading.Thread):
    """One connection.

    Only where a server said that it closes after its answer is another one made, as any client does.
    """

    def __init__(self, host: str, port: int, request: bytes, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._request = request
        self._place, self._stopped = (host, port), stop
        self.answers: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.pages = 0
        self.longest = 0.0

    def run(self) -> None:
        connection: socket.socket | None = None
        while not self._stopped.is_set():
            began = time.monotonic()
            try:
                if connection is None:
                    connection = socket.create_connection(self._place, timeout=_SECONDS)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                status, text, closes = _ask(connection, self._request)
                if status == 200:
                    self.answers[text] += 1
                elif status == 503 and text.strip() == PAGE:
                    self.pages += 1
                    self._stopped.wait(0.05)
                else:
                    self.lost[f"status {status}"] += 1
            except (OSError, ValueError) as error:
                self.lost[f"{type(error).__name__}: {error}"] += 1
                closes = True
                self._stopped.wait(0.05)
            self.longest = max(self.longest, time.monotonic() - began)
            if closes and connection is not None:
                connection.close()
                connection = None


def _ask(connection: socket.socket, request: bytes) -> tuple[int, str, bool]:
    """(status, body, whether the server closes). Raises ValueError for an answer that is cut off, OSError."""
    connection.sendall(request)
    said = b""
    while b"\r\n\r\n" not in said:
        said += _more(connection)
    head, _, body = said.partition(b"\r\n\r\n")
    first, *lines = head.lower().split(b"\r\n")
    fields = dict(line.split(b": ", 1) for line in lines)
    while len(body) < int(fields[b"content-length"]):
        body += _more(connection)
    return int(first.split()[1]), body.decode(), fields.get(b"connection") == b"close"


def _more(connection: socket.socket) -> bytes:
    if piece := connection.recv(65_536):
        return piece
    msg = "the answer was cut off"
    raise ValueError(msg)


def main(words: list[str]) -> None:
    host, port, count = words
    stop = threading.Event()
    clients = [_Client(host, int(port), _REQUESTS[number % 2], stop) for number in range(int(count))]
    for client in clients:
        client.start()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    while True:
        ended = stop.wait(0.5)
        for client in clients if ended else ():
            client.join(_SECONDS)
        seen = {
            "answers": sum((client.answers.copy() for client in clients), Counter()),
            "lost": sum((client.lost.copy() for client in clients), Counter()),
            "pages": sum(client.pages for client in clients),
            "longest": max(client.longest for client in clients),
            "ended": ended,
        }
        print(json.dumps(seen), flush=True)
        if ended:
            return


if __name__ == "__main__":
    main(sys.argv[1:])
