"""Docker's own credentials for a registry: `auths`, `credHelpers` and `credsStore` of its config.json.

The helpers' protocol is that of github.com/docker/docker-credential-helpers: the server's name on standard input of
`docker-credential-NAME get`, JSON on standard output.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.model import DeploykitError, Secret, UsageError
from deploykit.process import CommandNotFound, CommandTimedOut, run

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Credentials", "find_credentials"]

_HUB = "https://index.docker.io/v1/"
_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_TIMEOUT = 30.0
_TOKEN_USER = "<token>"  # noqa: S105  # nosec B105 - how helpers say that the secret is an identity token


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """`identity`: the secret is a token for the registry's token server, not a password."""

    user: str
    secret: Secret
    identity: bool = False

    def for_engine(self, registry: str) -> dict[str, str]:
        """As the engine wants it for a push (docs.docker.com/reference/api/engine, "Authentication")."""
        secret = self.secret.reveal()
        said = {"identitytoken": secret} if self.identity else {"username": self.user, "password": secret}
        return {**said, "serveraddress": _names(registry)[0]}


def find_credentials(registry: str, environ: Mapping[str, str] | None = None) -> Credentials | None:
    """What `docker login REGISTRY` left; None: nobody logged in.

    Raises UsageError when config.json can't be read or names a helper that is not installed, DeploykitError when the
    helper fails.
    """
    env = dict(os.environ if environ is None else environ)
    path = Path(env.get("DOCKER_CONFIG") or Path(env.get("HOME", "/")) / ".docker") / "config.json"
    config = _read(path)
    names = _names(registry)
    helpers = config.get("credHelpers") or {}
    helper = next((helpers[name] for name in names if name in helpers), config.get("credsStore") or "")
    if helper:
        return _ask(str(helper), names[0], env, path)
    auths = config.get("auths") or {}
    by_host = {_host(name): value for name, value in auths.items() if isinstance(value, dict)}
    entry = next((by_host[_host(name)] for name in names if _host(name) in by_host), None)
    return _decoded(entry, registry, path) if entry else None


def _names(registry: str) -> list[str]:
    if registry in _HUB_NAMES:
        return [_HUB, *sorted(_HUB_NAMES)]
    return [registry, f"https://{registry}", f"http://{registry}"]


def _host(name: str) -> str:
    return name.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _read(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} can't be read: {error}", next_step=f"fix {path}, or run docker login again") from None
    return config if isinstance(config, dict) else {}


def _decoded(entry: Mapping[str, Any], registry: str, path: Path) -> Credentials | None:
    if entry.get("identitytoken"):
        return Credentials(user=_TOKEN_USER, secret=Secret(str(entry["identitytoken"])), identity=True)
    if entry.get("username") and entry.get("password"):
        return Credentials(user=str(entry["username"]), secret=Secret(str(entry["password"])))
    if not entry.get("auth"):
        return None
    try:
        user, colon, password = base64.b64decode(str(entry["auth"]), validate=True).decode().rstrip("\0").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = user = password = ""  # nosec B105 - what could not be decoded
    if not colon:
        raise UsageError(f"the entry of {registry} in {path} is broken", next_step=f"docker login {registry}")
    return Credentials(user=user, secret=Secret(password))


def _ask(helper: str, server: str, env: Mapping[str, str], path: Path) -> Credentials | None:
    program = f"docker-credential-{helper}"
    try:
        done = run([program, "get"], stdin=server + "\n", env=env, timeout=_TIMEOUT, check=False)
    except CommandNotFound:
        raise UsageError(
            f"{path} names the credential helper {program}, which is not on PATH", next_step=f"install {program}"
        ) from None
    except CommandTimedOut:
        raise DeploykitError(
            f"{program} did not answer within {_TIMEOUT:g} s", next_step=f"echo {server} | {program} get"
        ) from None
    said = done.stdout + done.stderr
    if done.returncode != 0:
        if "credentials not found" in said.lower():
            return None
        raise DeploykitError(
            f"{program} gave no credentials for {server}",
            details=done.stderr.splitlines()[-5:],
            next_step=f"docker login {server}",
        )
    try:
        answer = json.loads(done.stdout)
        user, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError):
        raise DeploykitError(
            f"{program} answered something that is no credentials", next_step=f"docker login {server}"
        ) from None
    return Credentials(user=user, secret=Secret(secret), identity=user == _TOKEN_USER)
