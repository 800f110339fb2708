"""A ledger in a file keeps the contract."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_PATH = Path(__file__).parents[2] / "integration" / "contracts" / "ledger_contract.py"
_SPEC = importlib.util.spec_from_file_location("ledger_contract", _PATH)
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)


class TestSqlite(_MODULE.LedgerContract):
    pass
