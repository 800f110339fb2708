"""The situations in which pgroll was measured to lose writes: expand and contract under clients at full speed, again
and again.

DK_REPEAT says how often (5 by default; 50 for the record).
"""

from __future__ import annotations

import os

import pytest
from changed_database import changed_database
from schema_cases import CASES

TIMES = int(os.environ.get("DK_REPEAT", "5"))
NAMES = ("change_type", "rename_column", "set_not_null_filled", "split_column", "rename_table", "split_table")


@pytest.mark.timeout(60 + 12 * TIMES)
@pytest.mark.parametrize("case", [case for case in CASES if case.name in NAMES], ids=lambda case: case.name)
def test_no_write_fails_while_expand_and_contract_run(server_18, case, fresh_18):
    for _ in range(TIMES):
        with fresh_18() as url, changed_database(url, case, seed=300) as found:
            change = case.declare()
            found.start_old()
            found.settle()
            found.runner.expand(change)
            found.start_new()
            found.settle()
            found.runner.fill(change.key)
            found.settle()
            found.stop_old()
            found.runner.contract(change.key, "the test")
            found.settle()
            found.stop_new()
            found.check(case.new or case.old)
