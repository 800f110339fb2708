from __future__ import annotations

import json

import pytest

from deploykit.gates.sast import Accepted, SastGate
from deploykit.gates.sastscan.configuration import read_configuration
from deploykit.gates.sastscan.full_scan import interpret
from deploykit.gates.sastscan.judge import Rules, ScannedFiles, in_tests, merge, verdict_on
from deploykit.gates.sastscan.noqa import hidden_by_noqa
from deploykit.gates.sastscan.rules import Found, from_ruff
from deploykit.model import Outcome, Severity, UsageError

COUNTS = {"loc": 3, "nosec": 0, "skipped_tests": 0}


def result(name="././pkg/a.py", *, rule="B602", severity="HIGH", line=2):
    return {
        "code": "2 subprocess.call(command, shell=True)\n",
        "filename": name,
        "issue_confidence": "HIGH",
        "issue_cwe": {"id": 78, "link": "https://cwe.mitre.org/data/definitions/78.html"},
        "issue_severity": severity,
        "issue_text": "subprocess call with shell=True identified, security issue.",
        "line_number": line,
        "line_range": [line],
        "test_id": rule,
        "test_name": "subprocess_popen_with_shell_equals_true",
    }


def answer(*results, scanned=("././pkg/a.py",), errors=(), nosec=0):
    metrics = dict.fromkeys(scanned, COUNTS) | {"_totals": COUNTS | {"nosec": nosec}}
    return {
        "errors": list(errors),
        "metrics": metrics,
        "results": list(results),
        "generated_at": "2026-11-23T18:32:42Z",
    }


def judged(*answers, files=("pkg/a.py",), **options):
    return interpret(answers, files=files, version="1.9.4", settings={}, **options)


def test_medium_and_above_fail():
    verdict = judged(answer(result(severity="MEDIUM")))
    assert verdict.outcome is Outcome.FINDINGS
    (finding,) = verdict.findings
    assert (finding.path, finding.line, finding.rule, finding.severity) == ("pkg/a.py", 2, "B602", Severity.MODERATE)


def test_low_ones_are_listed_and_fail_nothing():
    verdict = judged(answer(result(severity="LOW")))
    assert verdict.outcome is Outcome.PASSED
    assert [finding.severity for finding in verdict.findings] == [Severity.LOW]
    assert "1 of low severity" in verdict.reason


def test_a_severity_that_nobody_knows_fails():
    assert judged(answer(result(severity="UNDEFINED"))).outcome is Outcome.FINDINGS


def test_a_file_that_can_not_be_parsed_is_inconclusive_and_named():
    problem = {"filename": "././pkg/b.py", "reason": "syntax error while parsing AST from file"}
    verdict = judged(answer(scanned=("././pkg/a.py", "././pkg/b.py"), errors=[problem]), files=("pkg/a.py", "pkg/b.py"))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.evidence.looked_at == 1
    assert "pkg/b.py: syntax error while parsing AST from file" in verdict.evidence.notes


def test_a_file_that_bandit_left_out_is_inconclusive():
    verdict = judged(answer(), files=("pkg/a.py", "pkg/c.py"))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "pkg/c.py" in verdict.reason


def test_what_the_repos_own_configuration_leaves_out_is_said():
    verdict = judged(answer(), files=("pkg/a.py", "pkg/c.py"), excludes_itself=True)
    assert verdict.outcome is Outcome.PASSED
    assert "files left out by bandit's own configuration: 1" in verdict.evidence.notes


def test_suppressed_lines_are_counted():
    assert "lines suppressed by nosec: 4" in judged(answer(nosec=4)).evidence.notes


def test_no_file_is_inconclusive(context, toolbox):
    toolbox.says = {"--version": ("bandit 1.9.4\n", 0)}
    verdict = SastGate(exclude=("*.py",)).run(context)
    assert verdict.outcome is Outcome.INCONCLUSIVE


def test_a_configuration_that_exists_is_found_and_given_to_bandit(tmp_path):
    assert read_configuration(tmp_path).options == []
    (tmp_path / "bandit.yaml").write_text("skips: [B101]\n")
    assert read_configuration(tmp_path).options == ["-c", "bandit.yaml"]
    (tmp_path / "bandit.yaml").unlink()
    (tmp_path / "pyproject.toml").write_text("[tool.bandit]\nexclude_dirs = ['x']\n")
    (tmp_path / ".bandit").write_text("[bandit]\ntests = B101, B602\ntargets: src\nlevel: 3\n")
    found = read_configuration(tmp_path)
    assert found.options == ["-c", "pyproject.toml", "--ini", ".bandit"]
    assert (found.tests, found.only_bandit, found.excludes) == (("B101", "B602"), ("level",), True)


def test_two_configurations_are_refused_aloud(tmp_path):
    (tmp_path / "bandit.yaml").write_text("skips: [B101]\n")
    (tmp_path / "pyproject.toml").write_text("[tool.bandit]\nskips = ['B102']\n")
    with pytest.raises(UsageError, match=r"pyproject.toml, bandit.yaml"):
        read_configuration(tmp_path)


def test_an_ini_that_can_not_be_read_is_refused_aloud(tmp_path):
    (tmp_path / ".bandit").write_text("skips = B101\n")
    with pytest.raises(UsageError, match=r"\.bandit"):
        read_configuration(tmp_path)


def found(line=2, rule="B602", *, path="a.py", first=0, last=0, severity=Severity.HIGH):
    return Found(
        path=path,
        line=line,
        rule=rule,
        message="no",
        severity=severity,
        confidence="HIGH",
        first=first or line,
        last=last or line,
    )


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("S602", "`subprocess` call with `shell=True` identified, security issue", Severity.HIGH),
        ("S602", "`subprocess` call with `shell=True` seems safe, but may be changed in the future", Severity.LOW),
        ("S103", "`os.chmod` setting a permissive mask `0o777` on file or directory", Severity.HIGH),
        ("S103", "`os.chmod` setting a permissive mask `0o770` on file or directory", Severity.MODERATE),
        ("S101", "Use of `assert` detected", Severity.LOW),
        ("S999", "a rule of a newer ruff", Severity.UNKNOWN),
    ],
)
def test_ruffs_findings_have_bandits_severity(code, message, expected):
    item = from_ruff(code, message, path="a.py", first=1, last=1)
    assert (item.rule, item.severity) == (f"B{code[1:]}", expected)


def test_what_both_find_is_one_finding():
    merged, hidden = merge([found()], [found()], [])
    assert (len(merged), hidden) == (1, 0)


def test_the_same_thing_at_another_line_of_the_call_is_one_finding_where_bandit_says():
    merged, _ = merge([found(2, first=2, last=6)], [found(5, first=2, last=6)], [])
    assert [item.line for item in merged] == [5]


def test_two_things_at_different_lines_stay_two():
    merged, _ = merge([found(2), found(9)], [found(2)], [])
    assert sorted(item.line for item in merged) == [2, 9]


def test_a_nosec_hides_ruffs_finding_of_that_rule_too_and_no_other():
    merged, hidden = merge([found(3), found(3, "B607")], [], [found(2, first=2, last=5)])
    assert ([item.rule for item in merged], hidden) == (["B607"], 1)


@pytest.mark.parametrize(
    ("line", "hides"),
    [
        ("call()  # noqa", True),
        ("call()  # noqa: S602", True),
        ("call()  # noqa: E501, S602", True),
        ("call()  # noqa:S6", True),
        ("call()  # noqa: S607", False),
        ("call()  # noqa: E501", False),
        ("call()", False),
    ],
)
def test_a_noqa_hides_what_it_names(line, hides):
    assert hidden_by_noqa(found(2), ["import os", line]) is hides


def test_a_noqa_for_the_whole_file_hides_everywhere():
    assert hidden_by_noqa(found(2), ["# ruff: noqa: S602", "call()"])
    assert not hidden_by_noqa(found(2), ["# ruff: noqa: D100", "call()"])


def test_the_configured_rules_count():
    assert not Rules(skips=frozenset({"B602"})).want(found())
    assert not Rules(tests=frozenset({"B101"})).want(found())
    assert Rules().want(found())
    assert not Rules(assert_skips=("*/test_*.py",)).want(found(rule="B101", path="x/test_a.py"))


def test_tests_are_known_by_their_names():
    assert all(map(in_tests, ("tests/a.py", "src/test_a.py", "a_test.py", "x/conftest.py")))
    assert not any(map(in_tests, ("app.py", "contest/a.py", "latest.py")))


def on(*items, **looked):
    looked = ScannedFiles(**({"judged": frozenset({"a.py"})} | looked))
    return verdict_on(items, looked, version="1 and 2", settings={})


def test_a_file_that_could_not_be_read_makes_a_clean_result_inconclusive():
    verdict = on(errors={"b.py": "SyntaxError: no"})
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "b.py: SyntaxError: no" in verdict.evidence.notes


def test_a_file_that_was_not_looked_at_makes_a_clean_result_inconclusive():
    assert on(missed=("c.py",)).outcome is Outcome.INCONCLUSIVE


def test_nothing_judged_is_inconclusive_although_everything_was_left_out_as_configured():
    assert on(judged=frozenset(), left_out=frozenset({"a.py"})).outcome is Outcome.INCONCLUSIVE


def test_an_unknown_severity_fails_the_gate():
    assert on(found(severity=Severity.UNKNOWN)).outcome is Outcome.FINDINGS


RUFF = {"--version": ("ruff 0.17.6\n", 0), "--show-files": ("", 0)}
JUDGED = {"version": "1.9.4", "python": "3.11.7", "tests": [], "skips": [], "assert_skips": []}


def answered(toolbox, files, problems=""):
    toolbox.says = {**RUFF, "check": (problems, 0), "*": (json.dumps({**JUDGED, "files": files}), 0)}


def test_files_that_ruff_did_not_look_at_are_judged_by_the_whole_of_bandit(context, toolbox):
    answered(toolbox, {"./app.py": {"fate": "judged", "whole": True, "lines": 1, "results": []}})
    verdict = SastGate().run(context)
    assert (verdict.outcome, verdict.evidence.looked_at) == (Outcome.PASSED, 1)


def test_files_that_bandits_rules_left_out_are_inconclusive(context, toolbox):
    answered(toolbox, {})
    with pytest.raises(Exception, match="left 1 files out"):
        SastGate().run(context)


def test_a_fate_that_nobody_knows_is_no_look(context, toolbox):
    answered(toolbox, {"./app.py": {"fate": "forgotten"}})
    assert SastGate().run(context).outcome is Outcome.INCONCLUSIVE


def test_a_configuration_that_bandit_refuses_is_a_usage_error(context, toolbox, tree):
    (tree / "bandit.yaml").write_text("skips: [B999]\n")
    toolbox.says = {**RUFF, "check": ("", 0), "*": ('{"refused": "Unknown test found in profile: B999"}', 0)}
    with pytest.raises(UsageError, match="B999"):
        SastGate().run(context)


def test_an_acknowledged_finding_is_one_of_its_rule_below_its_path():
    accepted = Accepted(rule="B608", path="pkg/sql", reason="made by quote()")

    def found(rule: str, path: str) -> Found:
        return Found(
            path=path, line=3, rule=rule, message="m", severity=Severity.MODERATE, confidence="LOW", first=3, last=3
        )

    assert accepted.covers(found("B608", "pkg/sql/a.py"))
    assert not accepted.covers(found("B608", "pkg/other.py"))
    assert not accepted.covers(found("B602", "pkg/sql/a.py"))
