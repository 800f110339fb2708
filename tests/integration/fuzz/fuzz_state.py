"""What earlier commands left in the state folder: a ledger, and files beside it; whole, damaged, or of something else."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fuzz_settings import ODD_TEXTS, odd_value

from deploykit.ledger.interface import StepState
from deploykit.ledger.sql import SqlLedger, open_ledger
from deploykit.model import ReleaseOutcome, Secret
from deploykit.release.version.values import store_values

if TYPE_CHECKING:
    from random import Random

__all__ = ["Ledgers", "spoil_state", "unlock"]

_SPEC: dict[str, Any] = {
    "app": "shop",
    "environment": "local",
    "argv": ["serve"],
    "health": "/health",
    "smoke": [],
    "replicas": 1,
    "start_timeout": 1.0,
    "drain_timeout": 1.0,
    "stop_timeout": 1.0,
    "warm_for": 60.0,
    "variables": {},
    "thresholds": {"error_rate": 0.1, "p95_ms": 1.0, "requests": 1},
    "watch": [],
    "database": {"kind": "none", "source": "", "variable": "", "driver": "", "migrations": "", "timeout": 1.0},
}
_FILES = (
    *("values/r1.json", "values/r2.json", "values/generated.json", "values/.r1.json.0", "target.json", "lock.json"),
    *("supervisor/state.json", "supervisor/socket", "supervisor/lock", "edge/haproxy.cfg", "edge/drained.json"),
    *("database/data", "supervisor/logs", "edge", "values", "ledger.sqlite3-wal", "ledger.sqlite3-shm"),
)
_CONTENTS = (
    b"",
    b"\0\0",
    b"{",
    b"[]",
    b"{}",
    b"null",
    b"1",
    b'{"programs": [{}]}',
    b'{"programs": 1}',
    b"\xff" * 10,
    b'"x"',
)


class Ledgers:
    """Ledgers that cases start from, made once in `folder` and copied."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self.names = ("none", "empty", "live", "two", "unfinished", "rollback", "failed", "locked", "due")
        for name in self.names[1:]:
            with contextlib.closing(
                open_ledger(folder / name, app="shop", environment="local", clock=lambda: 1e9)
            ) as ledger:
                _fill(ledger, name)

    def copy(self, name: str, to: Path) -> None:
        if name != "none":
            shutil.copy(self._folder / name, to)


def _fill(ledger: SqlLedger, name: str) -> None:
    if name == "empty":
        return
    _release(ledger, "1.0.0")
    if name in {"two", "rollback", "due"}:
        _release(ledger, "2.0.0")
    if name == "rollback":
        _release(ledger, "1.0.0", kind="rollback", live="r1")
        ledger.finish("r2", ReleaseOutcome.ROLLED_BACK, "rolled back by r3")
    if name == "failed":
        _release(ledger, "2.0.0", outcome="failed")
    if name == "unfinished":
        _release(ledger, "2.0.0", outcome="running")
    if name == "due":
        for kind in ("warm", "retire", "report", "other"):
            ledger.add_timer(kind, "r1", 1.0, {"instances": ["r1-web-0"]})
    if name == "locked":
        ledger.acquire("robin (by hand)", "the fair is on", lease=1e10)


def _release(ledger: SqlLedger, version: str, *, outcome: str = "done", kind: str = "release", live: str = "") -> None:
    held = ledger.acquire("tests", "a release", lease=60)
    present = ledger.live()
    digest = f"sha256:{version.replace('.', '').ljust(64, '0')}"
    previous = present.id if present is not None else ""
    record = ledger.begin(
        version=version,
        digest=digest,
        commit="c" * 40,
        tree="t" * 40,
        actor="robin",
        kind=kind,
        previous=previous,
        token=held.token,
    )
    ledger.result(ledger.intend(record.id, "plan", _SPEC, token=held.token), StepState.DONE, {})
    if outcome == "done":
        ledger.set_live(live or record.id)
    else:
        plan = {
            "candidate": [f"{record.id}-web-0"],
            "stable": [],
            "older": [],
            "kept": [],
            "weight": 100,
            "judged": True,
        }
        ledger.result(ledger.intend(record.id, "rollout", plan, token=held.token), StepState.DONE, {})
    if outcome != "running":
        ledger.finish(record.id, ReleaseOutcome(outcome))
    ledger.unlock("tests", held.token)


def spoil_state(random: Random, home: Path) -> None:
    """Damage the ledger, and put odd files beside it and above it."""
    root = home / "apps" / "shop" / "local"
    if random.random() < 0.5:
        for release in ("r1", "r2"):
            store_values(root / "values", release, {"KEY": Secret("wren-and-finch"), "PLAIN": "x"})
    if (ledger := root / "ledger.sqlite3").is_file() and random.random() < 0.6:
        _spoil_ledger(random, ledger)
    for _ in range(random.choice((0, 0, 1, 3))):
        _put(random, root / random.choice(_FILES))
    if random.random() < 0.1:
        _put(random, home / random.choice(("roots.json", "artifacts", "parts", "artifacts/references")))


def _put(random: Random, path: Path) -> None:
    if path.exists() or path.is_symlink() or not _made(path.parent):
        return
    content = random.choice((*_CONTENTS, json.dumps({"x": odd_value(random), "target": odd_value(random)}).encode()))
    random.choice(
        (
            lambda: path.write_bytes(content),
            lambda: path.write_bytes(content),
            path.mkdir,
            lambda: path.symlink_to("nowhere"),
        )
    )()


def _made(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        return True
    return False


def _spoil_ledger(random: Random, path: Path) -> None:
    content = path.read_bytes()
    place = random.randrange(len(content))
    kind = random.choice(
        (
            "truncated",
            "flipped",
            "garbage",
            "empty",
            "foreign",
            "newer",
            "rows",
            "rows",
            "rows",
            "dropped",
            "folder",
            "link",
            "read-only",
        )
    )
    if kind == "truncated":
        path.write_bytes(content[:place])
    elif kind == "flipped":
        changed = bytearray(content)
        for _ in range(20):
            changed[random.randrange(len(changed))] = random.randrange(256)
        path.write_bytes(bytes(changed))
    elif kind in {"garbage", "empty"}:
        path.write_bytes(random.randbytes(5_000) if kind == "garbage" else b"")
    elif kind in {"folder", "link"}:
        path.unlink()
        path.mkdir() if kind == "folder" else path.symlink_to(random.choice(("nowhere", path.name, "/dev/null")))
    elif kind == "read-only":
        path.chmod(0o400)
        path.parent.chmod(0o500)
    else:
        with contextlib.closing(sqlite3.connect(path)) as connection, contextlib.suppress(sqlite3.Error):
            _change(random, connection, kind)
            connection.commit()


def _change(random: Random, connection: sqlite3.Connection, kind: str) -> None:
    tables = [
        name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    ]
    if kind == "foreign":
        for table in tables:
            connection.execute(f'DROP TABLE "{table}"')
        connection.execute("CREATE TABLE deploykit_releases (x)")
        return
    if kind == "newer":
        (table,) = [table for table in tables if "version" in table][:1] or tables[:1]
        column = connection.execute(f'PRAGMA table_info("{table}")').fetchone()[1]
        connection.execute(f'UPDATE "{table}" SET "{column}" = ?', (random.choice(("9999", "", "0000", None, 7)),))
        return
    table = random.choice(tables)
    if kind == "dropped":
        connection.execute(random.choice((f'DROP TABLE "{table}"', f'DELETE FROM "{table}"')))
        return
    connection.execute("PRAGMA ignore_check_constraints = ON")
    for _ in range(random.choice((1, 3))):
        table = random.choice(tables)
        columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
        value = random.choice(
            (None, 0, -1, 1e300, b"\xff\0", "{}", "[]", "{", "null", "running", "done", "r1", random.choice(ODD_TEXTS))
        )
        connection.execute(f'UPDATE OR IGNORE "{table}" SET "{random.choice(columns)}" = ?', (value,))


def unlock(folder: Path) -> None:
    """So that it can be removed."""
    for place, _, _ in os.walk(folder):
        with contextlib.suppress(OSError):
            Path(place).chmod(0o700)
