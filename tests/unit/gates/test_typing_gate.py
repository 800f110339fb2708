from __future__ import annotations

import pytest

from deploykit.gates.typing import interpret
from deploykit.model import InconclusiveError, Outcome
from deploykit.process.run import Completed

ERRORS = """\
pkg/a.py:2: error: Incompatible return value type (got "int", expected "str")  [return-value]
pkg/a.py:7:5: note: Maybe you meant this
pkg/b.py: error: Source file found twice under different module names: "b" and "pkg.b"  [misc]
Found 2 errors in 2 files (checked 3 source files)
"""


def said(stdout: str, returncode: int, stderr: str = "") -> Completed:
    return Completed(argv=("python",), returncode=returncode, stdout=stdout, stderr=stderr, seconds=1)


def test_errors_are_findings_with_rule_and_line():
    verdict = interpret(said(ERRORS, 1), version="2.4.1", paths=["pkg"])
    assert verdict.outcome is Outcome.FINDINGS
    assert [(f.path, f.line, f.rule) for f in verdict.findings] == [
        ("pkg/a.py", 2, "return-value"),
        ("pkg/b.py", 0, "misc"),
    ]
    assert verdict.evidence.looked_at == 3


def test_success_says_how_many_files():
    verdict = interpret(said("Success: no issues found in 41 source files\n", 0), version="2", paths=[])
    assert (verdict.outcome, verdict.evidence.looked_at) == (Outcome.PASSED, 41)


def test_one_file_is_counted_too():
    assert (
        interpret(said("Success: no issues found in 1 source file\n", 0), version="2", paths=[]).evidence.looked_at == 1
    )


def test_a_syntax_error_that_stops_mypy_is_a_finding_and_says_so():
    text = (
        "b.py:2: error: Unexpected EOF while parsing  [syntax]\nFound 1 error in 1 file (errors prevented further"
        " checking)\n"
    )
    verdict = interpret(said(text, 2), version="2", paths=["."])
    assert verdict.outcome is Outcome.FINDINGS
    assert "kept mypy from looking further" in verdict.reason


def test_no_files_is_inconclusive():
    with pytest.raises(InconclusiveError) as error:
        interpret(said("", 2, "There are no .py[i] files in directory 'e'\n"), version="2", paths=["e"])
    assert "There are no .py[i] files in directory 'e'" in error.value.details


def test_a_success_that_counts_nothing_is_inconclusive():
    with pytest.raises(InconclusiveError, match="how many files"):
        interpret(said("\n", 0), version="2", paths=["e"])
