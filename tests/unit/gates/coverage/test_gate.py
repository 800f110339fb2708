from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploykit.gates.coverage.gate import interpret, why_unusable
from deploykit.gates.coverage_settings import CoverageSettings, read_coverage_settings
from deploykit.gates.interface import GateContext
from deploykit.gates.test import data_fingerprint
from deploykit.model import Evidence, Finding, InconclusiveError, Outcome, Verdict

TREE, DATA = "a" * 40, "d" * 64


@pytest.fixture
def context(tmp_path):
    """Of a project whose environment is that of these tests."""
    toolbox = SimpleNamespace(python=lambda: Path(sys.executable))
    return GateContext(root=tmp_path, toolbox=toolbox, environment=os.environ, clock=lambda: 0.0)


def report(percent: float, statements: int = 200) -> dict:
    missing = round(statements * (100 - percent) / 100)
    summary = {"num_statements": statements, "missing_lines": missing, "percent_covered": percent}
    return {
        "meta": {"branch_coverage": True},
        "files": {"app/a.py": {"summary": summary, "missing_lines": list(range(10, 10 + missing))}},
        "totals": {"num_statements": statements, "percent_covered": percent},
    }


def vouched(**changes) -> Verdict:
    evidence = Evidence(looked_at=3, unit="tests", tool="pytest", tool_version="9", settings={"coverage_data": DATA})
    return replace(Verdict(gate="test", outcome=Outcome.PASSED, evidence=evidence, tree=TREE), **changes)


def why(verdict, *, tree=TREE, data=DATA, files="") -> str:
    return why_unusable(verdict, gate="test", tree=tree, files=files, data=data)


def test_data_of_a_passed_run_on_this_very_tree_count():
    assert why(vouched()) == ""


def test_data_from_another_tree_do_not_count():
    assert "another state" in why(vouched(), tree="b" * 40)


def test_data_of_another_run_do_not_count():
    assert "not those of the last run" in why(vouched(), data="e" * 64)


def test_missing_data_do_not_count():
    assert "left no coverage data" in why(vouched(), data="")


def test_data_of_a_failed_run_do_not_count():
    failed = vouched(outcome=Outcome.FINDINGS, findings=(Finding(rule="test-failed", message="no"),))
    assert "ended with findings" in why(failed)


def test_without_a_run_there_is_nothing_to_judge():
    assert "was not run" in why(None)


def test_outside_git_the_files_themselves_are_compared():
    verdict = vouched(tree="")
    verdict = replace(verdict, evidence=replace(verdict.evidence, settings={"coverage_data": DATA, "files": "files:1"}))
    assert why(verdict, tree="", files="files:1") == ""
    assert "another state" in why(verdict, tree="", files="files:2")


def test_the_total_is_not_rounded_up():
    verdict = interpret(report(79.996), minimum=80, version="7")
    assert verdict.outcome is Outcome.FINDINGS
    assert "79.99 %" in verdict.reason


def test_enough_is_a_pass_with_the_figure():
    verdict = interpret(report(80.0), minimum=80, version="7")
    assert (verdict.outcome, verdict.evidence.looked_at) == (Outcome.PASSED, 1)
    assert "80.00 % of 200 statements" in verdict.reason


def test_too_little_names_the_files_with_most_missing():
    verdict = interpret(report(50.0), minimum=80, version="7")
    assert [(f.path, f.line) for f in verdict.findings] == [("", 0), ("app/a.py", 10)]


def test_data_that_name_no_statement_are_inconclusive():
    with pytest.raises(InconclusiveError, match="no statement"):
        interpret(report(100.0, statements=0), minimum=80, version="7")


def test_the_fingerprint_follows_the_content(tmp_path):
    assert data_fingerprint(tmp_path / "nothing") == ""
    (tmp_path / "data.1").write_bytes(b"x")
    first = data_fingerprint(tmp_path)
    (tmp_path / "data.1").write_bytes(b"y")
    assert first
    assert data_fingerprint(tmp_path) not in {"", first}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("pyproject.toml", "[tool.coverage.run]\nsource=['a']\n[tool.coverage.report]\nfail_under=85\n", (True, 85.0)),
        ("pyproject.toml", "[tool.black]\n", (False, 0.0)),
        (".coveragerc", "[run]\nsource = a\n", (True, 0.0)),
        ("setup.cfg", "[coverage:report]\nfail_under = 70\n", (False, 70.0)),
        ("tox.ini", "[tox]\n", (False, 0.0)),
        (".coveragerc.toml", "[run]\nsource = ['a']\n[report]\nfail_under = 91\n", (True, 91.0)),
        (".coveragerc", "[coverage:run]\ninclude = a\n", (True, 0.0)),
    ],
)
def test_the_repos_own_configuration_is_honoured(context, name, text, expected):
    (context.root / name).write_text(text)
    assert read_coverage_settings(context) == CoverageSettings(has_source=expected[0], fail_under=expected[1])


def test_the_first_file_in_coverages_own_order_counts(context):
    order = (".coveragerc", ".coveragerc.toml", "pyproject.toml")
    for figure, name in enumerate(reversed(order), start=80):
        table = {"pyproject.toml": "tool.coverage.report"}.get(name, "report")
        (context.root / name).write_text(f"[{table}]\nfail_under = {figure}\n")
        assert read_coverage_settings(context).fail_under == figure


@pytest.mark.parametrize(("name", "text"), [("pyproject.toml", "not toml ["), (".coveragerc", "no ini at all")])
def test_a_configuration_that_coverage_can_not_read_is_inconclusive(context, name, text):
    (context.root / name).write_text(text)
    with pytest.raises(InconclusiveError, match="coverage can't read its configuration") as caught:
        read_coverage_settings(context)
    assert name in "".join(caught.value.details)
