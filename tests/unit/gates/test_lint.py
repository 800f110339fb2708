from __future__ import annotations

import pytest

from deploykit.gates.lint import LintGate, contract_findings, interpret, rule_findings
from deploykit.model import InconclusiveError, Outcome
from deploykit.process.run import Completed

SYNTAX = {
    "cell": None,
    "code": "invalid-syntax",
    "end_location": {"column": 1, "row": 2},
    "fix": None,
    "location": {"column": 1, "row": 2},
    "message": "unexpected EOF while parsing",
    "name": "invalid-syntax",
    "noqa_row": None,
    "severity": "error",
    "url": None,
}
UNUSED = SYNTAX | {
    "code": "F401",
    "message": "`os` imported but unused",
    "fix": {"applicability": "safe", "edits": [], "message": "Remove unused import: `os`"},
}
BROKEN = """
Analyzed 12 files, 20 dependencies.
-----------------------------------

Floors BROKEN
Nobody imports the board KEPT

Contracts: 1 kept, 1 broken.


----------------
Broken contracts
----------------

Floors
------

app.low is not allowed to import app.high:

-   app.low.a -> app.high.b (l.3)
"""


def completed(stdout: str, returncode: int = 1) -> Completed:
    return Completed(argv=("lint-imports",), returncode=returncode, stdout=stdout, stderr="", seconds=0.1)


def test_a_finding_has_path_line_rule_and_what_mends_it(tmp_path):
    (finding,) = rule_findings([UNUSED | {"filename": str(tmp_path / "pkg" / "a.py")}], tmp_path)
    assert (finding.path, finding.line, finding.rule) == ("pkg/a.py", 2, "F401")
    assert "Remove unused import" in finding.fix


def test_a_file_that_can_not_be_parsed_is_a_finding(tmp_path):
    (finding,) = rule_findings([SYNTAX | {"filename": str(tmp_path / "a.py")}], tmp_path)
    assert finding.rule == "invalid-syntax"


def test_a_broken_contract_is_named_with_the_import_that_breaks_it():
    findings, count = contract_findings(completed(BROKEN))
    assert count == 2
    assert [finding.message for finding in findings] == ["broken: Floors", "app.low.a -> app.high.b (l.3)"]


def test_contracts_that_are_asked_for_and_not_configured_are_inconclusive():
    with pytest.raises(InconclusiveError, match="none is configured"):
        contract_findings(completed("Contracts: 0 kept, 0 broken.\n", 0))


def test_no_file_is_no_pass():
    assert interpret(findings=[], files=0, version="1", paths=["."]).outcome is Outcome.INCONCLUSIVE


def test_a_pass_says_how_many_files(context, toolbox):
    toolbox.says = {
        "--version": ("ruff 0.17.6\n", 0),
        "--show-files": ("/a.py\n/b.py\n", 0),
        "json": ("[]", 0, "Checked 2 files in: 1ms"),
        "check": ("", 0),
        "format": ("2 files already formatted\n", 0),
    }
    verdict = LintGate().run(context)
    assert verdict.outcome is Outcome.PASSED
    assert (verdict.evidence.looked_at, verdict.evidence.tool_version) == (2, "0.17.6")


def test_an_unformatted_file_is_one_finding(context, toolbox, tree):
    item = '{"code": "unformatted", "filename": "%s"}' % (tree / "app.py")
    toolbox.says = {
        "--version": ("ruff 0.17.6\n", 0),
        "--show-files": ("/a.py\n", 0),
        "-v": ("[]", 0, "Checked 1 file in: 1ms"),
        "json": (f"[{item}, {item}]", 1),
        "check": ("", 0),
        "format": ("1 file would be reformatted\n", 1),
    }
    verdict = LintGate().run(context)
    assert [(finding.path, finding.rule) for finding in verdict.findings] == [("app.py", "format")]
