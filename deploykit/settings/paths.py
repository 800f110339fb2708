"""Where the kit keeps what outlives a checkout: artefacts, ledgers, what runs on `local`."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

__all__ = ["STATE_VARIABLE", "StatePaths", "state_home"]

STATE_VARIABLE = "DEPLOYKIT_STATE_DIR"


def state_home() -> Path:
    """The root of the kit's state: `$DEPLOYKIT_STATE_DIR`, else `/var/lib/deploykit` for root, else the XDG state
    folder.

    Root's home is closed to other users, and PostgreSQL refuses to run as root, so root's state lives outside of it.
    """
    if named := os.environ.get(STATE_VARIABLE):
        return Path(named).expanduser().absolute()
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/deploykit")
    xdg = os.environ.get("XDG_STATE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".local" / "state") / "deploykit"


@dataclass(frozen=True)
class StatePaths:
    """The folders of one app in one environment. Nothing is made before it is asked for."""

    home: Path
    app: str
    environment: str

    @property
    def root(self) -> Path:
        return self.home / "apps" / self.app / self.environment

    @property
    def ledger(self) -> Path:
        """SQLite file of the ledger."""
        return self.root / "ledger.sqlite3"

    @property
    def supervisor(self) -> Path:
        """Folder of the supervisor: its socket, its state, the logs of what it runs."""
        return self.root / "supervisor"

    @property
    def edge(self) -> Path:
        return self.root / "edge"

    @property
    def values(self) -> Path:
        """Folder of the application's variables, one file for each release, readable by its owner only."""
        return self.root / "values"

    @property
    def released(self) -> Path:
        """Folder of what was released from this machine, to compare the ledger with."""
        return self.root / "released"

    @property
    def ledger_head(self) -> Path:
        """File with the newest hash of the ledger as this machine saw it last."""
        return self.root / "ledger.head"

    @property
    def database(self) -> Path:
        """Folder of the embedded database server. Shared by all that is released to this environment."""
        return self.root / "database"

    @property
    def database_socket(self) -> Path:
        """Folder of the database server's socket. Its name is short: programs use it, and the path of a Unix socket
        has at most 107 bytes.
        """
        return self.home / "sockets" / f"{zlib.crc32(f'{self.app}/{self.environment}'.encode()):08x}"

    @property
    def data(self) -> Path:
        """What the app keeps of its tree (setting `service.persistent`). Shared by all that is released here."""
        return self.root / "data"

    @property
    def artifacts(self) -> Path:
        """The content-addressed store, shared by all apps and environments."""
        return self.home / "artifacts"

    @property
    def parts(self) -> Path:
        """Copies of embedded programs (HAProxy, PostgreSQL), so that no virtual environment is needed at run time."""
        return self.home / "parts"
