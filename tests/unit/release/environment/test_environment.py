from __future__ import annotations

import gc

from deploykit.release.environment import Environment
from deploykit.settings.paths import StatePaths


def test_the_ledger_is_closed_with_the_last_who_used_it(tmp_path):
    environment = Environment(tmp_path, StatePaths(tmp_path, "shop", "local"), None)
    environment.ledger.acquire("ann", "release", lease=60)
    folder = environment.paths.ledger.parent
    assert "ledger.sqlite3-wal" in {path.name for path in folder.iterdir()}
    del environment
    gc.collect()
    assert [path.name for path in folder.glob("ledger*")] == ["ledger.sqlite3"]
