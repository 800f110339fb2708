"""Servers on the loopback that play attackers: each notes whatever it is sent."""

from __future__ import annotations

import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

__all__ = ["Heard", "Listener", "listening"]


@dataclass(frozen=True)
class Heard:
    method: str
    path: str
    headers: Mapping[str, str]
    body: str

    def __contains__(self, text: str) -> bool:
        return text in f"{self.method} {self.path} {self.headers} {self.body}"


@dataclass
class Listener:
    """`answer` gives (status, headers, body) for what was heard; `host` is the name it is called by."""

    port: int
    host: str
    scheme: str
    heard: list[Heard] = field(default_factory=list)
    answer: Callable[[Heard], tuple[int, Mapping[str, str], bytes]] = lambda _: (200, {}, b"{}")

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"

    def redirects(self, to: str, status: int = 307) -> None:
        self.answer = lambda _: (status, {"Location": to}, b"")


@contextmanager
def listening(host: str = "127.0.0.1", *, trust: tuple[Path, Path] | None = None) -> Iterator[Listener]:
    """`trust`: certificate and key, for HTTPS. 127.0.0.1 and 127.0.0.2 are two hosts on one machine."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            heard = Heard(self.command, self.path, dict(self.headers), body)
            made.heard.append(heard)
            status, headers, content = made.answer(heard)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else content)

        do_GET = do_HEAD = do_POST = do_PUT = do_CONNECT = answer  # noqa: N815 - as the standard library calls them

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1" if host == "localhost" else host, 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that don't trust it hang up
    made = Listener(server.server_port, host, "http" if trust is None else "https")
    if trust is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*trust)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join(20)
        server.server_close()
