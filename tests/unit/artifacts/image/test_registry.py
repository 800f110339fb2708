"""Plain HTTP, and what a registry that speaks it may still send on to: only then is it read whom the system trusts."""

from __future__ import annotations

import ssl
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from deploykit.artifacts.image.names import parse_repository
from deploykit.artifacts.image.registry import Registry, RegistryError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DIGEST = "sha256:" + "0" * 64


@contextmanager
def serving(location: str = "", *, trust: tuple[Path, Path] | None = None) -> Iterator[str]:
    """The address of a server that says a digest, or sends on to `location`; by HTTPS where it has a certificate and
    key.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(307 if location else 200)
            self.send_header(
                "Location" if location else "Docker-Content-Digest", location + self.path if location else DIGEST
            )
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that don't trust it hang up
    if trust is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*trust)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(20)
        server.server_close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("authority")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return certificate, key


def registry(address: str, *, insecure: bool = True) -> Registry:
    return Registry(parse_repository(f"{address}/team/shop"), None, insecure=insecure, timeout=20)


def test_for_plain_http_nobody_has_to_be_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))  # to read it would be an error
    with serving() as address, registry(address) as asked:
        assert asked.digest("latest") == DIGEST


def test_one_that_sends_on_to_https_is_followed_to_whom_the_system_trusts(
    monkeypatch: pytest.MonkeyPatch, authority: tuple[Path, Path]
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority[0]))
    with serving(trust=authority) as safe, serving(f"https://{safe}") as address, registry(address) as asked:
        assert asked.digest("latest") == DIGEST


def test_and_to_nobody_else(monkeypatch: pytest.MonkeyPatch, authority: tuple[Path, Path]) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with (
        serving(trust=authority) as safe,
        serving(f"https://{safe}") as address,
        registry(address) as asked,
        pytest.raises(RegistryError, match="can't be trusted"),
    ):
        asked.digest("latest")


def test_one_that_is_not_there_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with registry("127.0.0.1:1") as asked, pytest.raises(Unavailable, match="can't be reached"):
        asked.digest("latest")


def test_https_is_what_is_asked_for_where_nothing_else_is_said(
    monkeypatch: pytest.MonkeyPatch, authority: tuple[Path, Path]
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority[0]))
    with serving(trust=authority) as address, registry(address, insecure=False) as asked:
        assert asked.digest("latest") == DIGEST
