from __future__ import annotations

import stat

import pytest

from deploykit.model import DeploykitError, Secret
from deploykit.release.version.values import generated_values, has_values, read_values, secrets_in, store_values

VALUES = {"MODE": "fair", "API_KEY": Secret("wren-and-finch"), "EMPTY": Secret("")}


def test_values_come_back_with_their_secrets_marked(tmp_path):
    store_values(tmp_path / "values", "r1", VALUES)
    assert read_values(tmp_path / "values", "r1") == VALUES
    assert [value.reveal() for value in secrets_in(read_values(tmp_path / "values", "r1"))] == ["wren-and-finch", ""]


def test_only_their_owner_may_read_them(tmp_path):
    store_values(tmp_path / "values", "r1", VALUES)
    assert stat.S_IMODE((tmp_path / "values").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "values" / "r1.json").stat().st_mode) == 0o600


def test_a_write_that_fails_leaves_the_old_values_and_nothing_else(tmp_path):
    store_values(tmp_path, "r1", VALUES)
    with pytest.raises(TypeError):
        store_values(tmp_path, "r1", {"BAD": object()})
    assert read_values(tmp_path, "r1") == VALUES
    assert [file.name for file in tmp_path.iterdir()] == ["r1.json"]


def test_values_that_were_never_stored_are_none(tmp_path):
    assert read_values(tmp_path, "r9") == {}


@pytest.mark.parametrize(
    "text",
    [
        '{"API_KEY": wren-and-finch',
        '["wren-and-finch"]',
        '"wren-and-finch"',
        "null",
        '{"API_KEY": "wren-and-finch"}',  # pragma: allowlist secret
        '{"API_KEY": {"wren-and-finch": 1}}',
    ],
)
def test_damaged_values_are_told_and_never_shown(tmp_path, text):
    (tmp_path / "r1.json").write_text(text)
    with pytest.raises(DeploykitError, match="the values of r1 can't be read") as caught:
        read_values(tmp_path, "r1")
    assert "wren" not in caught.value.message
    assert str(tmp_path / "r1.json") in caught.value.next_step


def test_generated_values_are_made_once_and_kept(tmp_path):
    first = generated_values(tmp_path, ["TOKEN"])
    both = generated_values(tmp_path, ["TOKEN", "SALT"])
    assert both["TOKEN"] == first["TOKEN"]
    assert both["SALT"] != first["TOKEN"]
    assert len(first["TOKEN"].reveal()) >= 43
    assert generated_values(tmp_path, ["SALT"]) == {"SALT": both["SALT"]}


def test_nothing_to_generate_makes_nothing(tmp_path):
    assert generated_values(tmp_path / "values", []) == {}
    assert not (tmp_path / "values").exists()


@pytest.mark.parametrize("name", ["../r1", "r1/../../r1", "/etc/r1", "", "r", "R1", "r1\n"])
def test_a_release_from_the_ledger_leads_to_no_other_folder(tmp_path, name):
    store_values(tmp_path, "r1", VALUES)
    (tmp_path / "values").mkdir()
    for act in (read_values, has_values, lambda folder, name: store_values(folder, name, VALUES)):
        with pytest.raises(DeploykitError, match="is no release"):
            act(tmp_path / "values", name)
