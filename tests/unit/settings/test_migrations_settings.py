from __future__ import annotations

import pytest
from pydantic import ValidationError

from deploykit.settings.migration_models import Migrations


@pytest.mark.parametrize("entry", [{"rule": "truncate"}, {"rule": "truncate", "reason": " "}, {"reason": "why not"}])
def test_a_rule_is_acknowledged_with_a_reason_or_not_at_all(entry):
    with pytest.raises(ValidationError):
        Migrations(allow=(entry,))


def test_one_revision_or_one_of_each_branch_says_what_is_applied_everywhere():
    assert Migrations(since="1a2b").since == ("1a2b",)
    assert Migrations(since=("1a2b", "3c4d")).since == ("1a2b", "3c4d")


def test_the_server_is_a_version_or_asked():
    assert Migrations(server_version="ask").server_version == "ask"
    assert Migrations(server_version=16).server_version == 16
    with pytest.raises(ValidationError):
        Migrations(server_version="newest")
