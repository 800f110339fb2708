from __future__ import annotations

import json

import pytest

from deploykit.settings.durations import DURATION_PATTERN
from deploykit.settings.loader import SettingsError, load
from deploykit.settings.schema import json_schema


def start_timeout(tmp_path, value: str) -> float:
    (tmp_path / "pyproject.toml").write_text(f'[tool.deploykit]\napp = "shop"\nservice.start_timeout = {value}\n')
    return load(tmp_path, environ={}).settings.service.start_timeout


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30),
        ("0.5", 0.5),
        ('"400ms"', 0.4),
        ('"10s"', 10),
        ('"5m"', 300),
        ('"2h"', 7_200),
        ('"1.5h"', 5_400),
        ('"1d"', 86_400),
    ],
)
def test_a_span_of_time_is_a_number_of_seconds_or_a_text(tmp_path, value, seconds):
    assert start_timeout(tmp_path, value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", ['"10"', '"10 s"', '"s"', '"-10s"', '"10min"', '"25h"', '"0s"', "true"])
def test_anything_else_is_refused_with_what_is_allowed(tmp_path, value):
    with pytest.raises(SettingsError) as refused:
        start_timeout(tmp_path, value)
    assert 'or a text such as "10s", "5m" or "2h"' in "\n".join([refused.value.message, *refused.value.details])


def test_the_schema_for_editors_allows_both():
    node = json_schema()["$defs"]["Service"]["properties"]["start_timeout"]
    assert node["anyOf"] == [
        {"type": "number", "maximum": 86400.0, "exclusiveMinimum": 0.0},
        {"type": "string", "pattern": DURATION_PATTERN},
    ]
    assert node["default"] == 30
    assert "x-duration" not in json.dumps(json_schema())
