"""docs/schema-operations.md is what the planners say today."""

from __future__ import annotations

import pytest
from schema_page import PAGE, page


@pytest.mark.timeout(180)
def test_the_page_is_what_is_planned(fresh_18):
    assert page(fresh_18) == PAGE.read_text(encoding="utf-8"), (
        "python tests/integration/schema/changes/schema_page.py URL"
    )
