"""Variables of the settings that are made of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from deploykit.model import Secret, UsageError
from deploykit.release.version.gather import gather_values
from deploykit.release.version.repository import Repository
from deploykit.release.version.spec import ReleaseSpec
from deploykit.settings.loader import load

if TYPE_CHECKING:
    from pathlib import Path

STAGING = """
[tool.deploykit]
app = "shop"

[tool.deploykit.environments.staging]
database = "env:DATABASE_URL"
generate = ["DB_PASSWORD"]

[tool.deploykit.environments.staging.variables]
DB_HOST = "db"
DATABASE_URL = "postgresql://shop:${DB_PASSWORD}@${DB_HOST}/shop"
WHERE = "on ${DB_HOST}"
PLAIN = "$DB_HOST costs $5"
"""


@pytest.fixture
def gathered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    root = tmp_path / "shop"
    root.mkdir()
    for name in ("DB_PASSWORD", "DB_HOST", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def gather(settings: str = STAGING) -> dict[str, str | Secret]:
        (root / "pyproject.toml").write_text(settings)
        repository = Repository(load(root), "staging")
        spec = ReleaseSpec.from_settings(repository.settings, "staging", ("serve",))
        return gather_values(repository, spec, tmp_path / "values")[0]

    return gather


def test_a_variable_may_be_made_of_generated_and_of_plain_ones(gathered):
    values = gathered()
    password = values["DB_PASSWORD"]
    assert isinstance(password, Secret)
    assert values["DATABASE_URL"] == Secret(f"postgresql://shop:{password.reveal()}@db/shop")
    assert (values["WHERE"], values["PLAIN"]) == ("on db", "$DB_HOST costs $5")
    assert gathered() == values, "what was generated is kept"


def test_what_comes_from_elsewhere_is_taken_as_it_is(gathered, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:${DB_PASSWORD}@elsewhere/x")
    assert gathered()["DATABASE_URL"] == Secret("postgresql://u:${DB_PASSWORD}@elsewhere/x")


def test_a_part_without_a_value_is_named(gathered):
    with pytest.raises(UsageError, match="the variable DATABASE_URL is made of DB_PASSWORD, which has no value"):
        gathered(STAGING.replace('generate = ["DB_PASSWORD"]\n', ""))
