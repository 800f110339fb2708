"""What the board reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deploykit.board.access import EVERY_APP, Tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Config", "ConfigError"]


class ConfigError(ValueError):
    """The variables contradict themselves. The message is for the operator, and holds no token."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """`tokens` say who may write and read; `hosts` are the names that the board is called by, besides loopback.

    `open_to_readers`: without a token as well, since it listens on loopback and there are no readers' tokens.
    """

    database_url: str = field(default="", repr=False)
    tokens: Tokens = field(default_factory=Tokens)
    hosts: tuple[str, ...] = ()
    open_to_readers: bool = False
    version: str = ""
    release: str = ""
    environment: str = ""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], *, on_loopback: bool = False) -> Config:
        """DATABASE_URL, BOARD_TOKEN, BOARD_TOKENS, BOARD_READ_TOKEN, BOARD_HOSTS, and what deploykit tells every
        application about its release. `on_loopback`: only this machine reaches it. Raises ConfigError.
        """
        tokens = _tokens(environ)
        return cls(
            database_url=environ.get("DATABASE_URL", "").strip(),
            tokens=tokens,
            hosts=tuple(name.lower().rstrip(".") for name in environ.get("BOARD_HOSTS", "").split()),
            open_to_readers=on_loopback and not tokens.readers,
            version=environ.get("DEPLOYKIT_VERSION", "").strip() or _installed_version(),
            release=environ.get("DEPLOYKIT_RELEASE", "").strip(),
            environment=environ.get("DEPLOYKIT_ENVIRONMENT", "").strip(),
        )


def _tokens(environ: Mapping[str, str]) -> Tokens:
    apps: list[tuple[str, str]] = []
    if own := environ.get("BOARD_TOKEN", "").strip():
        if not (app := environ.get("DEPLOYKIT_APP", "").strip()):
            raise ConfigError(
                "BOARD_TOKEN is the token of the app that the board is released as, and DEPLOYKIT_APP names none: "
                "say BOARD_TOKENS=APP=TOKEN"
            )
        apps.append((app, own))
    for number, entry in enumerate(environ.get("BOARD_TOKENS", "").split(), start=1):
        app, _, token = entry.partition("=")
        if not app or not token:
            raise ConfigError(f"BOARD_TOKENS is APP=TOKEN, with spaces between entries, and entry {number} is not")
        apps.append((app, token))
    readers = tuple(environ.get("BOARD_READ_TOKEN", "").split())
    every = [*apps, *((EVERY_APP, token) for token in readers)]
    owners = {token: owner for owner, token in every}
    if shared := [owner for owner, token in every if owners[token] != owner]:
        raise ConfigError(f"{shared[0]} has a token that somebody else has, too: give each app one of its own")
    return Tokens(apps=tuple(apps), readers=readers)


def _installed_version() -> str:
    # Imported here: a released board is told its version, and importlib.metadata costs 30 ms of its start.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("deploykit")
    except PackageNotFoundError:
        return "unknown"
