"""Plain HTTP, and what a registry that speaks it may still send on to: only then is it read whom the system trusts."""

from __future__ import annotations

import base64
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from deploykit.artifacts.image.credentials import Credentials
from deploykit.artifacts.image.names import parse_repository
from deploykit.artifacts.image.registry import Registry, RegistryError, Unavailable
from deploykit.model import DeploykitError, Secret
from tests.shared.attackers import Heard, Listener, listening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DIGEST = "sha256:" + "0" * 64


@contextmanager
def serving(location: str = "", *, trust: tuple[Path, Path] | None = None) -> Iterator[str]:
    """The address of a server that says a digest, or sends on to `location`."""
    with listening(trust=trust) as made:
        made.answer = lambda heard: (
            (307, {"Location": location + heard.path}, b"")
            if location
            else (200, {"Docker-Content-Digest": DIGEST}, b"")
        )
        yield f"127.0.0.1:{made.port}"


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


PASSWORD = "wren-and-finch"  # pragma: allowlist secret
LOGIN = Credentials(user="robin", secret=Secret(PASSWORD))
BASIC = f"Basic {base64.b64encode(f'robin:{PASSWORD}'.encode()).decode()}"


def wants_login_at(server: Listener, realm: str) -> None:
    """Be a registry that sends to that token server, and takes its token."""

    def answer(heard: Heard) -> tuple[int, dict[str, str], bytes]:
        if heard.path.startswith("/token"):
            return 200, {}, b'{"token": "a-token"}'
        if heard.headers.get("Authorization") == "Bearer a-token":
            return 200, {"Docker-Content-Digest": DIGEST}, b""
        return 401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="x"'}, b""

    server.answer = answer


def logged_in(server: Listener, login: Credentials = LOGIN, *, token_host: str = "") -> Registry:
    repository = parse_repository(f"{server.host}:{server.port}/team/shop")
    return Registry(repository, login, insecure=server.scheme == "http", token_host=token_host, timeout=20)


@pytest.mark.parametrize("login", [LOGIN, Credentials(user="", secret=Secret(PASSWORD), identity=True)])
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost"])
def test_a_registry_can_not_have_its_login_sent_elsewhere_by_plain_http(login: Credentials, host: str) -> None:
    with listening() as registry, listening(host) as attacker, logged_in(registry, login) as asked:
        wants_login_at(registry, f"{attacker.url}/token")
        with pytest.raises(DeploykitError, match="was not sent") as refused:
            asked.digest("latest")
        assert attacker.heard == []
        assert f"{attacker.url}/token" in refused.value.message


def test_nor_to_another_host_by_https_unless_the_settings_name_it(
    monkeypatch: pytest.MonkeyPatch, authority: tuple[Path, Path]
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority[0]))
    with listening("localhost") as registry, listening(trust=authority) as other:
        wants_login_at(registry, f"{other.url}/token")
        other.answer = lambda _: (200, {}, b'{"token": "a-token"}')
        with logged_in(registry) as asked, pytest.raises(DeploykitError, match="another host") as refused:
            asked.digest("latest")
        assert other.heard == []
        assert 'image.token_host = "127.0.0.1"' in refused.value.next_step
        with logged_in(registry, token_host="127.0.0.1") as asked:
            assert asked.digest("latest") == DIGEST
        assert [heard.headers["Authorization"] for heard in other.heard] == [BASIC]


def test_its_own_address_is_its_token_server(monkeypatch: pytest.MonkeyPatch, authority: tuple[Path, Path]) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority[0]))
    for trust in (None, authority):
        with listening(trust=trust) as registry, logged_in(registry) as asked:
            wants_login_at(registry, f"{registry.url}/token")
            assert asked.digest("latest") == DIGEST
            assert BASIC in registry.heard[1]


def test_and_so_is_another_port_of_its_host_by_https(
    monkeypatch: pytest.MonkeyPatch, authority: tuple[Path, Path]
) -> None:
    """GitLab's registry is at a port of its own."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority[0]))
    with listening(trust=authority) as registry, listening(trust=authority) as server, logged_in(registry) as asked:
        wants_login_at(registry, f"{server.url}/token")
        server.answer = lambda _: (200, {}, b'{"token": "a-token"}')
        assert asked.digest("latest") == DIGEST


@pytest.mark.parametrize(
    ("registry", "realm", "right"),
    [
        ("docker.io", "https://auth.docker.io/token", True),
        ("docker.io", "https://auth.docker.io.example.org/token", False),
        ("docker.io", "http://auth.docker.io/token", False),
        ("registry.gitlab.com", "https://gitlab.com/jwt/auth", True),
        ("ghcr.io", "https://ghcr.io/token", True),
        ("ghcr.io", "https://auth.docker.io/token", False),
        ("ghcr.io", "https://robin@evil.example.org#ghcr.io", False),
        ("ghcr.io", "", False),
    ],
)
def test_which_token_servers_are_known(registry: str, realm: str, right: bool) -> None:
    with Registry(parse_repository(f"{registry}/team/shop"), LOGIN) as asked:
        if right:
            asked._check_realm(realm)
        else:
            with pytest.raises(DeploykitError):
                asked._check_realm(realm)


def test_a_registry_that_was_shown_the_login_can_not_send_it_on() -> None:
    with listening() as registry, listening("127.0.0.2") as attacker, logged_in(registry) as asked:
        registry.answer = lambda heard: (
            (307, {"Location": f"{attacker.url}{heard.path}"}, b"")
            if "Authorization" in heard.headers
            else (401, {"WWW-Authenticate": 'Basic realm="x"'}, b"")
        )
        with pytest.raises(DeploykitError, match=f"sends on to {attacker.url}"):
            asked.digest("latest")
        assert attacker.heard == []


def test_nor_can_its_token_server_send_on_a_refresh_token() -> None:
    identity = Credentials(user="", secret=Secret(PASSWORD), identity=True)
    with listening() as registry, listening("127.0.0.2") as attacker, logged_in(registry, identity) as asked:
        registry.answer = lambda heard: (
            (307, {"Location": f"{attacker.url}/token"}, b"")
            if heard.path.startswith("/token")
            else (401, {"WWW-Authenticate": f'Bearer realm="{registry.url}/token"'}, b"")
        )
        with pytest.raises(DeploykitError, match="sends on"):
            asked.digest("latest")
        assert PASSWORD in registry.heard[-1]
        assert attacker.heard == []


def test_a_companys_proxy_sees_no_login_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with listening() as registry, listening() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        wants_login_at(registry, f"{registry.url}/token")
        with logged_in(registry) as asked:
            assert asked.digest("latest") == DIGEST
        assert proxy.heard == []
