"""`nox -s test security` in a repo that isn't ours.

The tests share its environments, and leave its files as they were.
"""

from __future__ import annotations

import contextlib
import subprocess

import pytest


@contextlib.contextmanager
def changed(bakery, files):
    """The repo with other files, committed; then as it was."""
    before = {name: (bakery.root / name).read_text() if (bakery.root / name).exists() else None for name in files}
    bakery.write(files)
    bakery.commit()
    try:
        yield
    finally:
        for name, content in before.items():
            if content is None:
                (bakery.root / name).unlink()
            else:
                (bakery.root / name).write_text(content)
        bakery.commit()


def test_the_daily_command_passes_and_says_so_in_words(bakery):
    answer = bakery.nox("-s", "lint", "typing", "test", "coverage", "security")
    assert answer.returncode == 0, answer.stdout
    outcomes = answer.stdout.split("Outcomes:")[1]
    for gate in ("lint", "typing", "test", "coverage", "sast", "audit", "secrets", "security"):
        assert f"  {gate}: PASSED" in outcomes
        assert bakery.verdict(gate)["outcome"] == "passed"
    assert bakery.verdict("security")["evidence"]["looked_at"] == 3
    trees = {bakery.verdict(gate)["tree"] for gate in ("test", "security", "coverage")}
    assert len(trees) == 1
    assert trees != {""}
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=bakery.root, capture_output=True, text=True, check=True
    )
    assert status.stdout == ""


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_one_inconclusive_gate_makes_security_inconclusive_and_the_others_still_run(bakery, jobs):
    gone = {"DEPLOYKIT_ADVISORIES": str(bakery.root / "nothing")}
    answer = bakery.nox("-j", jobs, "-s", "test", "security", **gone)
    assert answer.returncode == 1
    outcomes = answer.stdout.split("Outcomes:")[1]
    assert "  test: PASSED" in outcomes
    assert "  sast: PASSED" in outcomes
    assert "  audit: INCONCLUSIVE: the copy of advisories nothing is unusable" in outcomes
    assert "  secrets: PASSED" in outcomes
    assert "  security: INCONCLUSIVE: audit inconclusive" in outcomes
    assert "DEPLOYKIT_ADVISORIES" in answer.stdout
    assert bakery.verdict("security")["outcome"] == "inconclusive"


def test_sessions_run_in_parallel(bakery):
    answer = bakery.nox("-j", "2", "-s", "lint", "test", "coverage", "security")
    assert answer.returncode == 0, answer.stdout
    assert "  coverage: PASSED" in answer.stdout.split("Outcomes:")[1]
    assert "  security: PASSED" in answer.stdout.split("Outcomes:")[1]


def test_a_failing_test_fails_the_session_and_coverage_is_not_judged(bakery):
    with changed(bakery, {"tests/test_bad.py": "def test_bad() -> None:\n    assert 1 == 2\n"}):
        answer = bakery.nox("-s", "test", "coverage")
    assert answer.returncode == 1
    assert "test: FINDINGS" in answer.stdout
    assert "tests/test_bad.py" in answer.stdout
    assert "Prerequisite session test was not successful" in answer.stdout


def test_what_follows_the_dashes_goes_to_pytest_and_is_no_evidence(bakery):
    before = bakery.verdict("test")
    answer = bakery.nox("-s", "tests", "--", "-k", "loaves", "-q")
    assert answer.returncode == 0, answer.stdout
    assert "narrowed by arguments: not recorded as evidence" in answer.stdout
    assert bakery.verdict("test") == before


def test_a_mistake_in_the_settings_is_a_usage_error_with_its_line(bakery):
    project = (bakery.root / "pyproject.toml").read_text()
    with changed(bakery, {"pyproject.toml": project + "\n[tool.deploykit.coverage]\nminimun = 90\n"}):
        answer = bakery.nox("-s", "lint")
    assert answer.returncode == 1
    assert "lint: USAGE ERROR" in answer.stdout
    assert "minimun" in answer.stdout
    assert "Traceback" not in answer.stdout


def test_without_an_environment_of_its_own_the_tools_come_from_the_cache(bakery):
    answer = bakery.nox("--no-venv", "-s", "secrets")
    assert answer.returncode == 0, answer.stdout
    assert "secrets: PASSED" in answer.stdout


def test_virtualenv_serves_where_uv_is_not_wanted(bakery):
    answer = bakery.nox("--force-venv-backend", "virtualenv", "--envdir", str(bakery.root / ".nox" / "v"), "-s", "lint")
    assert answer.returncode == 0, answer.stdout
    assert "lint: PASSED" in answer.stdout
