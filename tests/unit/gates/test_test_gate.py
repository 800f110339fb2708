from __future__ import annotations

import pytest

from deploykit.gates.junit import read_counts
from deploykit.gates.test import interpret
from deploykit.model import InconclusiveError, Outcome, UsageError
from deploykit.process.run import Completed

# As pytest 9 writes it with junit_family=xunit1.
REPORT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="1" skipped="2" tests="5" time="0.1">
<testcase classname="tests.unit.test_a" name="test_good" file="tests/unit/test_a.py" line="0" time="0.001" />
<testcase classname="tests.unit.test_a.TestThing" name="test_bad" file="tests/unit/test_a.py" line="8" time="0.001">
<failure message="assert 1 == 2">def test_bad(self):&#10;&gt;  assert 1 == 2</failure></testcase>
<testcase classname="tests.unit.test_a" name="test_skipped" file="tests/unit/test_a.py" line="11">
<skipped type="pytest.skip" message="no docker">x</skipped></testcase>
<testcase classname="tests.unit.test_a" name="test_known" file="tests/unit/test_a.py" line="14">
<skipped type="pytest.xfail" message="known" /></testcase>
<testcase classname="" name="tests.unit.test_broken" time="0.000">
<error message="collection failure">ImportError: no module</error></testcase>
</testsuite></testsuites>
"""
NOTHING = '<?xml version="1.0"?><testsuites><testsuite tests="0" skipped="0" errors="0" failures="0" /></testsuites>'


@pytest.fixture
def counts_of(tmp_path):
    def read(text):
        path = tmp_path / "report.xml"
        path.write_text(text)
        return read_counts(path)

    return read


def judged(counts, returncode, *, allowed=0, stdout="", stderr=""):
    completed = Completed(argv=("python",), returncode=returncode, stdout=stdout, stderr=stderr, seconds=1)
    return interpret(completed, counts=counts, gate="test", version="9.2.0", allowed_skips=allowed, settings={})


def case(name, inner=""):
    return f'<testcase classname="tests.test_a" name="{name}">{inner}</testcase>'


def suite(*cases):
    return f'<testsuites><testsuite tests="{len(cases)}">{"".join(cases)}</testsuite></testsuites>'


SKIP = '<skipped type="pytest.skip" message="not here" />'


def test_an_expected_failure_ran_and_a_skipped_test_did_not(counts_of):
    counts = counts_of(REPORT)
    assert counts.ran == 4
    assert counts.skipped == ("tests.unit.test_a::test_skipped (no docker)",)


def test_failures_and_collection_errors_are_findings_with_their_place(counts_of):
    failed, broken = counts_of(REPORT).failures
    assert (failed.path, failed.line, failed.rule) == ("tests/unit/test_a.py", 9, "test-failed")
    assert "assert 1 == 2" in failed.message
    assert broken.rule == "test-error"


def test_a_pass_counts_what_ran(counts_of):
    verdict = judged(counts_of(suite(case("a"), case("b"))), 0)
    assert (verdict.outcome, verdict.evidence.looked_at) == (Outcome.PASSED, 2)


def test_a_failed_test_is_a_finding_and_the_next_step_runs_its_file_again(counts_of):
    verdict = judged(counts_of(REPORT), 1)
    assert verdict.outcome is Outcome.FINDINGS
    assert verdict.next_step == "nox -s test -- tests/unit/test_a.py"


def test_no_test_collected_is_inconclusive(counts_of):
    with pytest.raises(InconclusiveError, match="collected no tests"):
        judged(counts_of(NOTHING), 5)


def test_all_tests_skipped_is_inconclusive_even_when_skips_are_allowed(counts_of):
    with pytest.raises(InconclusiveError, match="all 2 tests were skipped"):
        judged(counts_of(suite(case("a", SKIP), case("b", SKIP))), 0, allowed=10)


def test_more_skips_than_allowed_are_inconclusive_and_named(counts_of):
    counts = counts_of(suite(case("a"), case("b", SKIP), case("c", SKIP)))
    verdict = judged(counts, 0, allowed=1)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "skipped: tests.test_a::b (not here)" in verdict.evidence.notes
    assert judged(counts, 0, allowed=2).outcome is Outcome.PASSED


def test_a_refused_command_line_is_a_usage_error():
    with pytest.raises(UsageError) as error:
        judged(None, 4, stderr="ERROR: file or directory not found: nothere\n")
    assert "ERROR: file or directory not found: nothere" in error.value.details


def test_a_conftest_that_can_not_be_imported_is_inconclusive():
    with pytest.raises(InconclusiveError):
        judged(None, 4, stderr="ImportError while loading conftest '/x/tests/conftest.py'.\n")


@pytest.mark.parametrize("code", [-9, 3, 137])
def test_a_crash_is_inconclusive(code):
    with pytest.raises(InconclusiveError, match="crashed"):
        judged(None, code, stdout="INTERNALERROR> boom\n")


def test_an_interrupted_run_is_inconclusive(counts_of):
    with pytest.raises(InconclusiveError):
        judged(counts_of(suite(case("a"))), 2)


def test_failures_that_nobody_reports_are_inconclusive(counts_of):
    with pytest.raises(InconclusiveError, match="reports none"):
        judged(counts_of(suite(case("a"))), 1)


def test_deselected_tests_are_said(counts_of):
    verdict = judged(counts_of(suite(case("a"))), 0, stdout="1 passed, 12 deselected in 0.1s\n")
    assert "deselected by pytest's own configuration: 12" in verdict.evidence.notes


@pytest.mark.parametrize("text", ["", REPORT[:300], "no xml"])
def test_a_report_that_is_cut_off_is_inconclusive(counts_of, text):
    with pytest.raises(InconclusiveError, match="no readable report"):
        counts_of(text)


def test_a_report_that_announces_tests_and_lists_none_is_inconclusive(counts_of):
    with pytest.raises(InconclusiveError, match="lists none"):
        counts_of('<testsuites><testsuite tests="3" /></testsuites>')


def test_a_test_that_passed_only_when_tried_again_counts_once_and_is_named(counts_of):
    counts = counts_of(suite(case("shaky"), case("good"), case("shaky")))
    verdict = judged(counts, 0, stdout="2 passed, 1 rerun in 0.1s\n")
    assert (verdict.outcome, verdict.evidence.looked_at) == (Outcome.PASSED, 2)
    assert "tried again after a failure: 1" in verdict.evidence.notes
    assert "passed only when tried again: tests.test_a::shaky" in verdict.evidence.notes


def test_a_test_that_failed_each_time_is_a_failure_and_no_more(counts_of):
    counts = counts_of(suite(case("bad"), case("bad", '<failure message="assert 0" />')))
    verdict = judged(counts, 1, stdout="1 failed, 1 rerun in 0.1s\n")
    assert verdict.reason == "1 of 1 tests failed"
    assert verdict.evidence.notes == ("tried again after a failure: 1",)


def test_subtests_are_not_taken_for_tries(counts_of):
    verdict = judged(counts_of(suite(case("many"), case("many"))), 0, stdout="1 passed, 2 subtests passed in 0.1s\n")
    assert verdict.evidence.looked_at == 1
    assert not [note for note in verdict.evidence.notes if "again" in note]


XFAIL = '<skipped type="pytest.xfail" message="known" />'


def test_where_every_test_fails_as_expected_none_has_passed(counts_of):
    counts = counts_of(suite(case("test_a", XFAIL), case("test_b", XFAIL)))
    assert counts.expected_failures == 2
    with pytest.raises(InconclusiveError, match="all 2 tests failed as their xfail mark expects, so none passed"):
        judged(counts, 0)
    verdict = judged(counts_of(suite(case("test_a", XFAIL), case("test_b"))), 0)
    assert verdict.outcome is Outcome.PASSED
    assert "failed as expected (xfail): 1" in verdict.evidence.notes


@pytest.mark.parametrize(
    ("stdout", "reason"),
    [
        (
            "1 passed in 0.24s\n!!!!!! _pytest.outcomes.Exit: enough !!!!!!\n",
            "the test run was ended early, by pytest.exit",
        ),
        (
            "run-last-failure: rerun previous 1 failure\n1 passed, 9 deselected\n",
            "only the tests that failed last time",
        ),
    ],
)
def test_a_run_that_was_not_whole_is_no_pass_though_pytest_answers_0(counts_of, stdout, reason):
    with pytest.raises(InconclusiveError, match=reason):
        judged(counts_of(suite(case("test_a"))), 0, stdout=stdout)
