"""Each set of test sessions has a minimum of its own: none is held against what others would have covered."""

from __future__ import annotations

import pytest

from deploykit.gates.catalog import build_gate, coverage_gate
from deploykit.gates.coverage.minimum import CoverageMinimum, select_minimum
from deploykit.model import InconclusiveError
from deploykit.settings.loader import load

TEST = CoverageMinimum(minimum=60, sessions=("test",))
BOTH = CoverageMinimum(minimum=90, sessions=("integration", "test"))


def chosen(*minimums: CoverageMinimum, measured: str, required: str = "test") -> CoverageMinimum:
    return select_minimum(minimums, measured=measured.split(), required=required.split())


@pytest.mark.parametrize("measured", ["test", "test integration", "test faults"])
def test_one_minimum_holds_for_whatever_was_measured(measured):
    whatever = CoverageMinimum(minimum=80)
    assert chosen(whatever, measured=measured) == whatever


def test_what_was_not_measured_sets_no_minimum():
    assert chosen(TEST, BOTH, measured="test") == TEST


def test_what_was_measured_besides_raises_the_minimum():
    assert chosen(TEST, BOTH, measured="test integration") == BOTH


def test_a_session_that_no_minimum_names_changes_nothing():
    assert chosen(TEST, BOTH, measured="test faults") == TEST


def test_sessions_that_are_asked_for_together_are_not_judged_by_the_minimum_of_one():
    with pytest.raises(InconclusiveError, match="no minimum for the coverage of test and integration") as caught:
        chosen(TEST, measured="test integration", required="test integration")
    assert caught.value.details == ("there is one of test: 60 %",)
    assert 'coverage.sessions = { "test integration" = … }' in caught.value.next_step


def test_a_misspelt_session_is_no_pass():
    misspelt = CoverageMinimum(minimum=90, sessions=("integraton", "test"))
    with pytest.raises(InconclusiveError):
        chosen(misspelt, measured="test")


@pytest.fixture
def settings(tmp_path):
    def read(lines: str):
        (tmp_path / "pyproject.toml").write_text(
            f'[tool.deploykit]\napp = "shop"\n[tool.deploykit.coverage]\n{lines}\n'
        )
        return load(tmp_path).settings

    return read


def test_the_settings_name_sessions_in_any_order(settings, tmp_path):
    read = settings('sessions = { test = 60, "test integration" = 90 }')
    assert coverage_gate(read).minimums == (TEST, BOTH)
    assert build_gate("coverage", settings("minimum = 70"), tmp_path).minimums == (CoverageMinimum(minimum=70),)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('sessions = { "a b" = 1, "b a" = 2 }', "names the same sessions twice"),
        ('sessions = { " " = 1 }', "this name is not allowed"),
        ("sessions = { test = 101 }", "a number from 0 to 100"),
    ],
)
def test_mistakes_in_the_settings_are_named(settings, lines, said):
    with pytest.raises(Exception, match="a mistake in") as caught:
        settings(lines)
    assert said in caught.value.details[0]
    assert caught.value.details[0].startswith("pyproject.toml:4: coverage.sessions")
