"""Coverage of changed lines and of packages, with the real coverage, and the reports that are there whatever is
judged.
"""

from __future__ import annotations

import json
import subprocess

import pytest

from deploykit.model import Outcome

MORE = "def used() -> int:\n    return 1\n\n\ndef never() -> int:\n    return 2\n"
TEST = "from shop.more import used\n\n\ndef test_used() -> None:\n    assert used() == 1\n"


@pytest.fixture
def branch(shop):
    """A branch with a module of which one line of four never runs."""
    shop.commit()
    subprocess.run(["git", "-C", shop.root, "branch", "-M", "main"], check=True)
    subprocess.run(["git", "-C", shop.root, "switch", "-qc", "branch"], check=True)
    shop.write({"shop/more.py": MORE, "tests/test_more.py": TEST})
    shop.commit()
    assert shop.gate("test").outcome is Outcome.PASSED
    return shop


def test_changed_lines_are_judged_against_a_base_and_every_report_is_there(branch, tmp_path):
    assert branch.gate("coverage").outcome is Outcome.PASSED
    summary = tmp_path / "summary.md"
    verdict = branch.gate("coverage", base="main", environment={"GITHUB_STEP_SUMMARY": str(summary)})
    assert verdict.outcome is Outcome.FINDINGS, verdict
    assert "statements changed since main: 75.00 %" in verdict.reason
    assert ("shop/more.py", 6) in {(finding.path, finding.line) for finding in verdict.findings}
    reports = branch.root / ".deploykit" / "reports"
    page = (reports / "coverage.md").read_text()
    assert "- `shop/more.py`: 6" in page
    assert summary.read_text() == page
    assert (reports / "coverage-html" / "index.html").exists()
    assert (reports / "coverage.xml").exists()
    assert json.loads((reports / "coverage.json").read_text())["outcome"] == "findings"
    assert json.loads((reports / "coverage.sarif").read_text())["runs"][0]["results"]


def test_a_base_that_is_not_there_is_inconclusive_after_the_reports_were_written(branch):
    verdict = branch.gate("coverage", base="origin/nothing")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.next_step == "git fetch origin nothing"
    assert "| total |" in (branch.root / ".deploykit" / "reports" / "coverage.md").read_text()


def test_minimums_of_packages_and_of_changed_lines_come_from_the_settings(shop):
    project = (shop.root / "pyproject.toml").read_text()
    settings = 'changed_minimum = 100\nbase = "main"\npackages = { "shop.more" = 100 }\n'
    shop.write({"pyproject.toml": project + settings})
    shop.commit()
    subprocess.run(["git", "-C", shop.root, "branch", "-M", "main"], check=True)
    subprocess.run(["git", "-C", shop.root, "switch", "-qc", "branch"], check=True)
    shop.write({"shop/more.py": MORE, "tests/test_more.py": TEST})
    assert shop.gate("test").outcome is Outcome.PASSED
    verdict = shop.gate("coverage")
    assert {finding.rule for finding in verdict.findings} == {"coverage-package", "coverage-changed"}, verdict
