from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import junitparser
import pytest

from deploykit.gates.reports import FORMATS, parse_report_request, publish, write_report
from deploykit.gates.reports.annotations import as_gitlab, github_commands
from deploykit.gates.reports.junit import as_junit
from deploykit.gates.reports.sarif import as_sarif
from deploykit.model import Evidence, Finding, Outcome, Severity, UsageError, Verdict

SCHEMA = json.loads((Path(__file__).parents[2] / "fixtures" / "schemas" / "sarif-2.1.0.json").read_text())
HIGH = Finding(rule="B602", message="shell: 100 %,\nbad", path="src/ü b.py", line=3, severity=Severity.HIGH, fix="mend")
LOW = Finding(rule="B101", message="assert", path="a.py", line=9, severity=Severity.LOW)
WHOLE = Finding(rule="coverage", message="too little")
SEEN = Evidence(looked_at=2, unit="files", tool="ruff", tool_version="1", settings={"a": ("b",)}, notes=("note",))


def verdict(outcome, *findings, reason="", looked=SEEN) -> Verdict:
    return Verdict(
        gate="sast", outcome=outcome, evidence=looked, findings=findings, reason=reason, next_step="go", tree="f" * 40
    )


VERDICTS = {
    "passed": verdict(Outcome.PASSED),
    "passed with listed ones": verdict(Outcome.PASSED, LOW),
    "findings": verdict(Outcome.FINDINGS, HIGH, HIGH, LOW, WHOLE),
    "odd characters": verdict(Outcome.FINDINGS, Finding(rule="x", message="\x00\x1b[1m ]]> & <a>")),
    "inconclusive": verdict(Outcome.INCONCLUSIVE, reason="unreachable: a\nb", looked=Evidence(
        looked_at=0, unit="files", tool="", tool_version=""
    )),
    "usage": verdict(Outcome.USAGE, reason="no such thing"),
}  # fmt: skip


@pytest.mark.parametrize("name", VERDICTS)
def test_the_sarif_report_is_valid_by_the_standards_schema(name):
    jsonschema.Draft4Validator(SCHEMA).validate(json.loads(FORMATS["sarif"](VERDICTS[name])))


def test_the_sarif_report_says_where_and_how_bad():
    (run,) = as_sarif(VERDICTS["findings"])["runs"]
    first, second, low, whole = run["results"]
    place = first["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("src/%C3%BC%20b.py", 3)
    assert [item["level"] for item in (first, low, whole)] == ["error", "note", "error"]
    assert whole["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "pyproject.toml"
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["B602", "B101", "coverage"]
    assert run["tool"]["driver"]["rules"][0]["properties"]["security-severity"] == "8.0"
    names = [item["partialFingerprints"]["deploykit/v1"] for item in run["results"]]
    assert len(set(names)) == 4, "two alike need two names"
    assert first["ruleIndex"] == second["ruleIndex"] == 0


def test_a_fingerprint_outlives_a_shift_of_the_line():
    moved = Finding(**{**LOW.__dict__, "line": 90})
    name = [as_gitlab(verdict(Outcome.FINDINGS, item))[0]["fingerprint"] for item in (LOW, moved)]
    assert name[0] == name[1]


@pytest.mark.parametrize("name", ["inconclusive", "usage"])
def test_no_report_of_a_gate_that_could_not_judge_looks_clean(name):
    judged = VERDICTS[name]
    (run,) = as_sarif(judged)["runs"]
    assert run["invocations"][0]["executionSuccessful"] is False
    assert judged.reason in run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]
    assert junitparser.JUnitXml.fromstring(as_junit(judged).encode()).errors == 1
    assert as_gitlab(judged)[0]["severity"] == "blocker"
    assert github_commands(judged)[0].startswith("::error title=sast%3A ")


@pytest.mark.parametrize("name", VERDICTS)
def test_junit_is_read_by_another_programs_parser_with_the_right_counts(name):
    judged = VERDICTS[name]
    suites = junitparser.JUnitXml.fromstring(as_junit(judged).encode())
    (suite,) = suites
    cases = list(suite)
    assert (suite.tests, suites.tests) == (len(cases), len(cases))
    assert cases, "an empty suite is taken for a success"
    failed = [case for case in cases if any(isinstance(item, junitparser.Failure) for item in case.result)]
    wrong = [case for case in cases if any(isinstance(item, junitparser.Error) for item in case.result)]
    assert (suite.failures, suite.errors) == (len(failed), len(wrong))
    assert (not failed and not wrong) is (judged.outcome is Outcome.PASSED)


def test_low_ones_fail_nothing_in_junit_beside_graver_ones():
    suite = next(iter(junitparser.JUnitXml.fromstring(as_junit(VERDICTS["findings"]).encode())))
    assert suite.failures == 3


def test_github_gets_errors_and_warnings_with_escaped_words():
    lines = github_commands(VERDICTS["findings"])
    assert lines[0] == "::error file=src/ü b.py,line=3,title=sast B602::shell: 100 %25,%0Abad"
    assert lines[-1] == "::warning file=a.py,line=9,title=sast B101::assert"
    assert "::error title=sast coverage::too little" in lines


def test_github_gets_no_more_than_it_shows():
    many = [Finding(rule="x", message=str(number)) for number in range(50)]
    assert len(github_commands(verdict(Outcome.FINDINGS, *many))) == 10


def test_reports_are_written_for_each_outcome(tmp_path):
    for judged in VERDICTS.values():
        publish(tmp_path, judged, environment={}, say=lambda _line: pytest.fail("nobody asked for annotations"))
        folder = tmp_path / ".deploykit" / "reports"
        assert sorted(path.name for path in folder.iterdir()) == ["sast.json", "sast.junit.xml", "sast.sarif"]
        assert Verdict.from_json(json.loads((folder / "sast.json").read_text())).outcome is judged.outcome
    assert (tmp_path / ".deploykit" / ".gitignore").read_text() == "*\n"


def test_annotations_are_made_where_they_are_read(tmp_path):
    said: list[str] = []
    publish(tmp_path, VERDICTS["findings"], environment={"GITHUB_ACTIONS": "true"}, say=said.append)
    assert said == github_commands(VERDICTS["findings"])
    publish(tmp_path, VERDICTS["findings"], environment={"GITLAB_CI": "true"}, say=said.append)
    report = json.loads((tmp_path / ".deploykit" / "reports" / "sast.gitlab.json").read_text())
    assert report[0]["location"] == {"path": "src/ü b.py", "lines": {"begin": 3}}
    assert {item["severity"] for item in report} == {"critical", "minor", "major"}


def test_the_test_gates_own_junit_is_kept_unless_it_would_look_green(tmp_path):
    folder = tmp_path / ".deploykit" / "reports"
    folder.mkdir(parents=True)
    (folder / "test.xml").write_text("<testsuites/>")
    looked = Evidence(looked_at=1, unit="tests", tool="pytest", tool_version="9")
    for outcome, kept in ((Outcome.PASSED, True), (Outcome.INCONCLUSIVE, False)):
        judged = Verdict(gate="test", outcome=outcome, evidence=looked, reason="skipped")
        publish(tmp_path, judged, environment={}, say=print)
        assert ((folder / "test.junit.xml").read_text() == "<testsuites/>") is kept


def test_one_report_where_it_is_wanted(tmp_path):
    target = tmp_path / "deep" / "out.sarif"
    assert write_report(VERDICTS["findings"], f"sarif={target}") == target
    assert json.loads(target.read_text())["version"] == "2.1.0"


@pytest.mark.parametrize("wish", ["sarif", "sarif=", "html=x", "=x", ""])
def test_a_report_that_nobody_knows_is_a_usage_error(wish):
    with pytest.raises(UsageError, match="FORMAT=PATH"):
        parse_report_request(wish)


def test_a_report_that_can_not_be_written_is_a_usage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="can't be written"):
        write_report(VERDICTS["findings"], f"json={tmp_path}/file/x.json")
