"""The parts of the OSV API that scanners use, over a copy, on loopback (https://google.github.io/osv.dev/api/)."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from deploykit.gates.audit.advisories.copy import AdvisoryCopy

__all__ = ["AdvisoryServer"]


class AdvisoryServer:
    """Serves `POST /v1/query`, `POST /v1/querybatch`, `GET /v1/vulns/ID` while the `with` block lasts.

    `asked` are the packages that scanners asked about, so that what they looked at is known first hand.
    """

    def __init__(self, copy: AdvisoryCopy) -> None:
        self.copy = copy
        self.asked: set[tuple[str, str]] = set()
        self.refused = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """(HTTP status, JSON) for a request."""
        try:
            if method == "GET" and path.startswith("/v1/vulns/"):
                record = self.copy.by_id.get(path.removeprefix("/v1/vulns/"))
                return (200, record) if record else (404, {"code": 5, "message": "Bug not found."})
            if method == "POST" and path == "/v1/query":
                found = self._query(json.loads(body))
                return 200, {"vulns": found} if found else {}
            if method == "POST" and path == "/v1/querybatch":
                queries = json.loads(body)["queries"]
                return 200, {"results": [self._short(self._query(query)) for query in queries]}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.refused += 1
            return 400, {"code": 3, "message": f"{type(error).__name__}: {error}"}
        self.refused += 1
        return 404, {"code": 5, "message": "no such resource"}

    def _query(self, query: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        package = query["package"]
        name, version = package.get("name", ""), query.get("version", "")
        if "purl" in package:
            name, _, inside = package["purl"].removeprefix("pkg:pypi/").partition("@")
            version = version or inside
        elif package["ecosystem"] != "PyPI":
            message = f"this copy knows PyPI, not {package['ecosystem']}"
            raise ValueError(message)
        found = self.copy.query(name, version)
        self.asked.add((name, version))
        return found

    def _short(self, found: list[Mapping[str, Any]]) -> Mapping[str, Any]:
        return {"vulns": [{"id": item["id"], "modified": item["modified"]} for item in found]} if found else {}


def _handler(server: AdvisoryServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

        def _answer(self, body: bytes) -> None:
            status, content = server.answer(self.command, self.path, body)
            encoded = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        def log_message(self, *args: object) -> None:
            """Nobody reads it."""

    return Handler
