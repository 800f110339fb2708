"""Errors of the database, translated into errors that a person can act on."""

from __future__ import annotations

import sqlite3

from deploykit.model import DeploykitError

__all__ = ["folder_error", "is_missing_table", "translate"]

_RETRY = "see who is at it, then try the same command again"
_CHECK = "see what disagrees: `invoke history --check` with the same --env"
_DAMAGED = "put a backup of it in its place, or move it aside: what runs carries labels that tell the truth"

# SQLite's primary result codes: https://www.sqlite.org/rescode.html
_SQLITE = {
    sqlite3.SQLITE_BUSY: ("is busy: another process has been writing to it for too long", _RETRY),
    sqlite3.SQLITE_LOCKED: ("is busy: another process has been writing to it for too long", _RETRY),
    sqlite3.SQLITE_FULL: (
        "can't grow: its disk is full",
        "free some space on that disk, then try the same command again",
    ),
    sqlite3.SQLITE_IOERR: ("can't be read or written: its disk answers with an error", "look at the disk (`dmesg`)"),
    sqlite3.SQLITE_READONLY: ("can't be written", "give yourself write access to the file and to its folder"),
    sqlite3.SQLITE_PERM: ("can't be written", "give yourself write access to the file and to its folder"),
    sqlite3.SQLITE_CANTOPEN: ("can't be opened", "give yourself write access to the file and to its folder"),
    sqlite3.SQLITE_CORRUPT: ("is damaged: its file is no longer a whole database", _DAMAGED),
    sqlite3.SQLITE_NOTADB: ("can't be used: the file is not a database", _DAMAGED),
    sqlite3.SQLITE_CONSTRAINT: ("contradicts itself: a row is there that should not be", _CHECK),
}

# PostgreSQL's: https://www.postgresql.org/docs/current/errcodes-appendix.html, by code, then by class.
_POSTGRESQL = {
    "55P03": ("is busy: another process has been writing to it for too long", _RETRY),
    "57014": ("is busy: the server cancelled the query", _RETRY),
    "53100": ("can't grow: the server's disk is full", "free some space there, then try the same command again"),
    "42501": ("refuses: this user may not do that", "grant the user the right to create and write tables there"),
    "3D000": ("can't be opened: there is no such database", "create it, or correct the ledger's URL"),
    "25006": ("can't be written: the server is read-only", "name the primary server in the ledger's URL"),
    "28": ("refuses the user or the password", "correct the ledger's URL"),
    "23": ("contradicts itself: a row is there that should not be", _CHECK),
    "08": ("can't be reached", "start the server, or correct the ledger's URL"),
    "57": ("can't be reached: the server is stopping", "start the server, then try the same command again"),
    "": ("can't be reached", "start the server, or correct the ledger's URL"),
}
_UNKNOWN = ("answered with an error", "look at the cause above")


def translate(error: Exception, where: str) -> DeploykitError:
    """The error to show for a driver's `error`; `where` is the path or the URL without its password."""
    if isinstance(error, sqlite3.Error):
        # The extended codes (SQLITE_IOERR_WRITE …) keep the primary one in their low byte.
        said, next_step = _SQLITE.get(getattr(error, "sqlite_errorcode", -1) & 0xFF, _UNKNOWN)
    else:
        state = getattr(error, "sqlstate", None) or ""
        said, next_step = _POSTGRESQL.get(state) or _POSTGRESQL.get(state[:2]) or _UNKNOWN
    details = tuple(line for line in str(error).splitlines() if line.strip())[:8]
    return DeploykitError(f"The ledger {where} {said}.", details=details, next_step=next_step)


def is_missing_table(error: Exception) -> bool:
    return getattr(error, "sqlstate", None) == "42P01" or "no such table" in str(error)


def folder_error(error: OSError, where: str) -> DeploykitError:
    """The error to show when the ledger's file can't even be made."""
    return DeploykitError(
        f"The ledger {where} can't be opened: {error.strerror or error}.",
        details=(str(error.filename),) if error.filename else (),
        next_step="give yourself write access to its folder, or name another by DEPLOYKIT_STATE_DIR",
    )
