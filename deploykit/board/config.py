"""What the board reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Config"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """`token` is what reporters must show, `read_token` what readers must show (empty: anyone who reaches the port).

    The secrets are kept out of `repr`.
    """

    database_url: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    read_token: str = field(default="", repr=False)
    version: str = ""
    release: str = ""
    environment: str = ""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Config:
        """DATABASE_URL, BOARD_TOKEN, BOARD_READ_TOKEN, and what deploykit tells every application about its release."""
        return cls(
            database_url=environ.get("DATABASE_URL", "").strip(),
            token=environ.get("BOARD_TOKEN", "").strip(),
            read_token=environ.get("BOARD_READ_TOKEN", "").strip(),
            version=environ.get("DEPLOYKIT_VERSION", "").strip() or _installed_version(),
            release=environ.get("DEPLOYKIT_RELEASE", "").strip(),
            environment=environ.get("DEPLOYKIT_ENVIRONMENT", "").strip(),
        )


def _installed_version() -> str:
    # Imported here: a released board is told its version, and importlib.metadata costs 30 ms of its start.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("deploykit")
    except PackageNotFoundError:
        return "unknown"
