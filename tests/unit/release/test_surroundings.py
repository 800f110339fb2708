from __future__ import annotations

import gc

from deploykit.release.surroundings import Surroundings
from deploykit.settings.paths import StatePaths


def test_the_ledger_is_closed_with_the_last_who_used_it(tmp_path):
    around = Surroundings(tmp_path, "shop", "local", StatePaths(tmp_path, "shop", "local"), None, None)
    around.ledger.acquire("ann", "release", lease=60)
    folder = around.paths.ledger.parent
    assert "ledger.sqlite3-wal" in {path.name for path in folder.iterdir()}
    del around
    gc.collect()
    assert [path.name for path in folder.glob("ledger*")] == ["ledger.sqlite3"]
