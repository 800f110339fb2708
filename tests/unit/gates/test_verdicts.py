"""Verdict files, the combined verdict, and what a terminal shows."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from deploykit.gates.combined_verdict import combine
from deploykit.gates.report import render, summary_line, wants_color
from deploykit.gates.verdict_files import read_recorded, read_verdict, record_verdict, verdict_path
from deploykit.model import Evidence, Finding, Outcome, Severity, Verdict
from deploykit.model.printable import printed

TREE = "a" * 40
EVIDENCE = Evidence(
    looked_at=3, unit="files", tool="bandit", tool_version="1.9", settings={"exclude": "tests"}, seconds=1.25
)
FINDING = Finding(rule="B602", message="shell=True", path="pkg/a.py", line=3, severity=Severity.HIGH, fix="use a list")


def verdict(gate="sast", outcome=Outcome.PASSED, **more):
    findings = (FINDING,) if outcome is Outcome.FINDINGS else ()
    return Verdict(
        **{"gate": gate, "outcome": outcome, "evidence": EVIDENCE, "findings": findings, "tree": TREE, **more}
    )


def shown(*given, **how) -> str:
    return "\n".join(map(printed, render(*given, **how)))


def test_a_verdict_comes_back_from_its_file(tmp_path):
    given = verdict(outcome=Outcome.FINDINGS, reason="1 finding")
    record_verdict(tmp_path, given, run="r1", now=5.0)
    assert read_verdict(tmp_path, "sast") == given
    recorded = read_recorded(tmp_path, "sast")
    assert recorded is not None
    assert (recorded[1]["run"], recorded[1]["recorded_at"]) == ("r1", 5.0)


def test_verdict_files_never_dirty_the_tree(tree):
    subprocess.run(["git", "-C", tree, "add", "-A"], check=True)
    before = subprocess.run(["git", "-C", tree, "status", "--porcelain"], capture_output=True, check=True).stdout
    record_verdict(tree, verdict())
    after = subprocess.run(["git", "-C", tree, "status", "--porcelain"], capture_output=True, check=True).stdout
    assert before == after
    assert not list(verdict_path(tree, "sast").parent.glob(".*"))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"gate": "sast"}', '{"gate": "sast", "outcome": "green"}'])
def test_an_unreadable_verdict_file_is_none(tmp_path, content):
    record_verdict(tmp_path, verdict())
    verdict_path(tmp_path, "sast").write_text(content)
    assert read_verdict(tmp_path, "sast") is None


def test_three_passes_join_to_a_pass_with_the_evidence_of_each():
    combined = combine("security", [verdict("sast"), verdict("audit"), verdict("secrets")], tree=TREE)
    assert combined.outcome is Outcome.PASSED
    assert combined.evidence.looked_at == 3
    assert "audit: passed (3 files, bandit 1.9)" in combined.evidence.notes


def test_one_inconclusive_of_three_makes_the_whole_inconclusive_and_is_named():
    doubtful = verdict("audit", Outcome.INCONCLUSIVE, reason="unreachable", next_step="give a copy")
    combined = combine("security", [verdict("sast"), doubtful, verdict("secrets")], tree=TREE)
    assert combined.outcome is Outcome.INCONCLUSIVE
    assert combined.reason == "audit inconclusive"
    assert combined.next_step == "give a copy"


def test_findings_outweigh_doubt():
    parts = [verdict("sast", Outcome.FINDINGS), verdict("audit", Outcome.INCONCLUSIVE), verdict("secrets")]
    assert combine("security", parts, tree=TREE).outcome is Outcome.FINDINGS


def test_a_missing_part_is_inconclusive():
    combined = combine("security", [verdict("sast"), verdict("secrets")], tree=TREE)
    assert (combined.outcome, combined.reason) == (Outcome.INCONCLUSIVE, "audit was not run")


def test_a_part_about_another_tree_is_inconclusive():
    parts = [verdict("sast"), verdict("audit", tree="b" * 40), verdict("secrets")]
    combined = combine("security", parts, tree=TREE)
    assert (combined.outcome, combined.reason) == (Outcome.INCONCLUSIVE, "audit judged another tree")


def test_a_terminal_shows_outcome_evidence_findings_and_next_step():
    said = shown(verdict(outcome=Outcome.FINDINGS, reason="1 finding", next_step="mend it"))
    assert said.splitlines() == [
        "sast: FINDINGS (1.2 s)",
        "  1 finding",
        "  looked at 3 files with bandit 1.9, tree aaaaaaaaaaaa",
        "  settings: exclude=tests",
        "  pkg/a.py",
        "    3: B602 [high] shell=True",
        "      fix: use a list",
        "  next: mend it",
    ]


def test_lines_fit_into_the_terminal():
    long = verdict(outcome=Outcome.INCONCLUSIVE, reason="word " * 60, next_step="step " * 40)
    assert max(map(len, shown(long, width=60).splitlines())) <= 60


def test_many_findings_are_cut_with_the_file_that_has_them_all():
    many = verdict(outcome=Outcome.FINDINGS, findings=(FINDING,) * 40)
    assert "… and 15 more: .deploykit/verdicts/sast.json" in shown(many)


def test_what_a_pass_lists_is_only_counted():
    low = replace(verdict(), findings=(FINDING,))
    assert "listed in .deploykit/verdicts/sast.json: 1" in shown(low)
    assert "B602" not in shown(low)


def test_a_joined_verdict_can_be_shown_without_findings():
    assert "B602" not in shown(verdict(outcome=Outcome.FINDINGS), findings=False)


def test_a_tools_own_lines_keep_their_form():
    noted = verdict(evidence=replace(EVIDENCE, tool="", notes=("|   indented", "a note")))
    lines = shown(noted).splitlines()
    assert "  |   indented" in lines
    assert "  - a note" in lines
    assert "  nothing was looked at" in shown(replace(noted, outcome=Outcome.INCONCLUSIVE))


def test_colours_obey_the_conventions():
    assert "\x1b[1;32mPASSED" in shown(verdict(), color=True)
    assert "\x1b" not in shown(verdict())
    assert not wants_color({"NO_COLOR": "1", "FORCE_COLOR": "1"}, is_terminal=True)
    assert wants_color({"FORCE_COLOR": "1"}, is_terminal=False)
    assert not wants_color({"TERM": "dumb"}, is_terminal=True)


def test_the_summary_is_one_line():
    assert summary_line(verdict(reason="all well")) == "sast: PASSED: all well"
    assert summary_line(verdict()) == "sast: PASSED"
