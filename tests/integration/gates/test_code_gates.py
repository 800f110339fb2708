"""lint, typing, test and coverage with the real ruff, import-linter, mypy, pytest and coverage."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from deploykit.gates.test import TestGate
from deploykit.gates.tools import managed_tool
from deploykit.model import Outcome


def test_a_clean_tree_passes_lint_with_every_file_counted(shop):
    shop.commit()
    verdict = shop.gate("lint")
    assert verdict.outcome is Outcome.PASSED, verdict
    assert verdict.evidence.looked_at == 2
    assert verdict.evidence.tool_version
    assert verdict.tree == shop.tree() != ""


def test_an_unused_import_and_a_bad_format_are_findings_at_their_lines(shop):
    shop.write({"shop/bad.py": "import os\nx=1\n"})
    found = {(f.path, f.line, f.rule) for f in shop.gate("lint").findings}
    assert {("shop/bad.py", 1, "F401"), ("shop/bad.py", 0, "format")} <= found


def test_a_file_that_can_not_be_parsed_fails_lint_and_typing(shop):
    shop.write({"shop/bad.py": "def (:\n"})
    assert {f.rule for f in shop.gate("lint").findings} == {"invalid-syntax"}
    typing = shop.gate("typing")
    assert typing.outcome is Outcome.FINDINGS
    assert typing.findings[0].path == "shop/bad.py"


def test_configuration_of_the_user_is_not_obeyed(shop, tmp_path):
    """ruff and mypy take it where the repository has none: what passes here would fail elsewhere."""
    shop.write({"shop/bad.py": 'import os\n\nNUMBER: int = "one"\n'})
    for place, text in {
        ".config/ruff/ruff.toml": 'lint.ignore = ["F401"]\n',
        ".config/mypy/config": "[mypy]\nignore_errors = True\n",
        ".mypy.ini": "[mypy]\nignore_errors = True\n",
    }.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(text)
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / ".config")}
    assert "F401" in {finding.rule for finding in shop.gate("lint", environment=home).findings}
    assert "assignment" in {finding.rule for finding in shop.gate("typing", environment=home).findings}


def test_a_tree_without_python_is_inconclusive(shop):
    for name in ("shop/__init__.py", "tests/test_price.py"):
        (shop.root / name).unlink()
    assert shop.gate("lint").outcome is Outcome.INCONCLUSIVE


def test_a_ruff_configuration_that_is_broken_is_inconclusive(shop):
    shop.write({"ruff.toml": "line-length = 'long'\n"})
    verdict = shop.gate("lint")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert any("line-length" in note for note in verdict.evidence.notes)


def test_a_broken_import_contract_is_a_finding(shop):
    contract = """
[tool.deploykit.lint]
import_contracts = true
[tool.importlinter]
root_package = "shop"
[[tool.importlinter.contracts]]
name = "Floors"
type = "layers"
layers = ["shop.high", "shop.low"]
"""
    project = (shop.root / "pyproject.toml").read_text()
    shop.write({"pyproject.toml": project + contract, "shop/high.py": "A = 1\n", "shop/low.py": "B = 1\n"})
    kept = shop.gate("lint")
    assert kept.outcome is Outcome.PASSED, kept
    assert "import contracts checked: 1" in kept.evidence.notes
    shop.write({"shop/low.py": "from shop.high import A\n\nB = A\n"})
    broken = shop.gate("lint")
    assert any(f.rule == "import-contract" and "Floors" in f.message for f in broken.findings)


def test_gates_that_only_read_run_no_code_of_the_tree(shop, tmp_path):
    """An attack: modules with the names of what the tools import, and of what Python imports when it starts."""
    marks = tmp_path / "marks"
    marks.mkdir()
    names = ("sitecustomize", "usercustomize", "importlinter", "grimp", "click", "rich", "json", "tomllib", "ast")
    names += (
        "bandit",
        "stevedore",
        "select_files",
        "yaml",
        "detect_secrets",
        "conftest",
        "setup",
        "deploykit",
        "ns.up",
    )
    project = (shop.root / "pyproject.toml").read_text()
    contract = """
[tool.deploykit.lint]
import_contracts = true
[tool.importlinter]
root_packages = ["shop", "ns.up"]
[[tool.importlinter.contracts]]
name = "Floors"
type = "layers"
layers = ["shop.high", "shop.low"]
"""
    code = f'open({str(marks)!r} + "/" + __name__, "w").close()\n'
    shop.write(
        {"pyproject.toml": project + contract, "shop/high.py": code, "shop/low.py": code, "shop/__init__.py": code}
    )
    shop.write({f"{name.replace('.', '/')}{'/__init__' if '.' in name else ''}.py": code for name in names})
    shop.write({"bandit.yaml": "exclude_dirs: [nothing]\n", "app/secret.py": code})
    linted = shop.gate("lint")
    assert "import contracts checked: 1" in linted.evidence.notes, linted
    for gate in ("format", "sast", "secrets"):
        verdict = shop.gate(gate)
        assert verdict.evidence.looked_at > 10, verdict
    own = contract.replace("[[", 'contract_types = ["own: shop.high.Own"]\n[[')
    shop.write({"pyproject.toml": project + own})
    assert shop.gate("lint").outcome is Outcome.INCONCLUSIVE
    assert sorted(path.name for path in marks.iterdir()) == []


def test_types_are_checked_in_the_projects_own_environment(shop):
    for name in ("mypy", "tomllib", "json"):  # not taken for the real ones
        shop.write({f"{name}.py": "raise SystemExit('code of the tree')\n"})
    passed = shop.gate("typing")
    assert (passed.outcome, passed.evidence.looked_at) == (Outcome.PASSED, 4), passed
    shop.write({"shop/wrong.py": "def f(x: int) -> str:\n    return x\n"})
    verdict = shop.gate("typing")
    assert [(f.path, f.line, f.rule) for f in verdict.findings] == [("shop/wrong.py", 2, "return-value")]


def test_tests_pass_and_their_coverage_is_judged_on_the_same_tree(shop):
    shop.commit()
    tested = shop.gate("test")
    assert (tested.outcome, tested.evidence.looked_at) == (Outcome.PASSED, 1), tested
    covered = shop.gate("coverage")
    assert covered.outcome is Outcome.PASSED, covered
    assert "100.00 % of 2 statements" in covered.reason
    reports = shop.root / ".deploykit" / "reports"
    assert json.loads((reports / "coverage-data.json").read_text())["totals"]["num_statements"] == 2
    assert "<coverage" in (reports / "coverage.xml").read_text()
    assert "TOTAL" in (reports / "coverage.txt").read_text()
    status = subprocess.run(
        ["git", "-C", shop.root, "status", "--porcelain"], capture_output=True, text=True, check=True
    )
    assert status.stdout == "", "the gates must not change the tree that they judge"


def test_coverage_of_an_earlier_state_is_no_evidence(shop):
    shop.commit()
    assert shop.gate("test").outcome is Outcome.PASSED
    shop.write({"shop/more.py": "C = 1\n"})
    verdict = shop.gate("coverage")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "another state of the tree" in verdict.reason
    assert verdict.next_step == "nox -s test coverage"


def test_outside_git_the_same_holds(shop):
    assert shop.tree() == ""
    assert shop.gate("test").outcome is Outcome.PASSED
    assert shop.gate("coverage").outcome is Outcome.PASSED
    shop.write({"shop/more.py": "C = 1\n"})
    assert shop.gate("coverage").outcome is Outcome.INCONCLUSIVE


def test_too_little_coverage_is_a_finding_and_the_reports_are_there(shop):
    shop.write({"shop/more.py": "def never() -> int:\n" + "    print()\n" * 20 + "    return 1\n"})
    assert shop.gate("test").outcome is Outcome.PASSED
    verdict = shop.gate("coverage")
    assert verdict.outcome is Outcome.FINDINGS
    assert any(f.path == "shop/more.py" for f in verdict.findings)
    assert (shop.root / ".deploykit" / "reports" / "coverage.xml").exists()


def test_each_set_of_test_sessions_has_its_own_minimum(shop):
    project = (shop.root / "pyproject.toml").read_text()
    shop.write(
        {
            "pyproject.toml": project + 'sessions = { test = 20, "test integration" = 90 }\n',
            "shop/more.py": "def slow() -> int:\n" + "    print()\n" * 5 + "    return 1\n",
            "checks/test_slow.py": "from shop.more import slow\n\n\ndef test_slow():\n    assert slow() == 1\n",
        }
    )
    shop.commit()
    assert shop.gate("test").outcome is Outcome.PASSED
    alone = shop.gate("coverage")
    assert (alone.outcome, alone.evidence.settings["minimum"]) == (Outcome.PASSED, "20 %"), alone
    integration = TestGate(name="integration", paths=("checks",), source=("shop",))
    assert shop.gate("integration", build=lambda _settings: integration).outcome is Outcome.PASSED
    both = shop.gate("coverage")
    assert (both.outcome, both.evidence.settings["minimum"]) == (Outcome.PASSED, "90 %"), both
    assert {"data of test", "data of integration"} <= set(both.evidence.notes)


def test_coverage_without_tests_is_inconclusive(shop):
    verdict = shop.gate("coverage")
    assert (verdict.outcome, verdict.reason) == (
        Outcome.INCONCLUSIVE,
        "there is no coverage to judge: test was not run",
    )


def test_failing_tests_are_findings_and_their_coverage_does_not_count(shop):
    shop.write({"tests/test_bad.py": "def test_bad() -> None:\n    assert 1 == 2\n"})
    verdict = shop.gate("test")
    assert [(f.path, f.line) for f in verdict.findings] == [("tests/test_bad.py", 1)]
    assert "ended with findings" in shop.gate("coverage").reason


def test_a_test_module_that_can_not_be_imported_is_a_finding(shop):
    shop.write({"tests/test_bad.py": "import nothing_of_that_name\n"})
    verdict = shop.gate("test")
    assert verdict.outcome is Outcome.FINDINGS
    assert verdict.findings[0].rule == "test-error"


def test_a_conftest_that_can_not_be_imported_is_inconclusive(shop):
    shop.write({"tests/conftest.py": "import nothing_of_that_name\n"})
    assert shop.gate("test").outcome is Outcome.INCONCLUSIVE


def test_no_tests_and_only_skipped_tests_are_inconclusive(shop):
    shop.write({"tests/test_price.py": "import pytest\n\n\n@pytest.mark.skip\ndef test_it() -> None:\n    pass\n"})
    assert "all 1 tests were skipped" in shop.gate("test").reason
    shop.write({"tests/test_price.py": ""})
    assert "collected no tests" in shop.gate("test").reason


def test_a_test_run_that_is_killed_is_inconclusive(shop):
    shop.write({"tests/test_bad.py": "import os\n\n\ndef test_it() -> None:\n    os.kill(os.getpid(), 9)\n"})
    verdict = shop.gate("test")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "-9" in verdict.reason


def test_a_path_that_is_not_there_is_a_usage_error(shop):
    verdict = shop.gate("test", arguments=["tests/nothing.py"])
    assert verdict.outcome is Outcome.USAGE


def test_arguments_narrow_the_run_and_leave_the_record_alone(shop):
    shop.write({"tests/test_more.py": "def test_more() -> None:\n    assert True\n"})
    whole = shop.gate("test")
    narrowed = shop.gate("test", arguments=["tests/test_more.py"])
    assert (whole.evidence.looked_at, narrowed.evidence.looked_at) == (2, 1)
    assert shop.gate("coverage").outcome is Outcome.PASSED


def test_an_addopts_variable_can_not_narrow_a_gate_unseen(shop):
    verdict = shop.gate("test", environment={"PYTEST_ADDOPTS": "-k nothing"})
    assert (verdict.outcome, verdict.evidence.looked_at) == (Outcome.PASSED, 1)


def test_environments_share_no_file_with_uvs_cache(shop, gate_environment):
    assert shop.gate("test").outcome is Outcome.PASSED
    environments = Path(gate_environment["XDG_CACHE_HOME"]) / "deploykit"
    assert managed_tool("ruff", environment=gate_environment).is_relative_to(environments)
    modules = [path for path in environments.rglob("site-packages/*/*.py") if not path.is_symlink()]
    assert modules
    assert {path.stat().st_nlink for path in modules} == {1}, "a write into one environment would change another"


@pytest.mark.parametrize("section", ["lint", "format"])
def test_excludes_of_ruff_that_leave_out_everything_are_no_pass(shop, section):
    shop.write({"ruff.toml": f'[{section}]\nexclude = ["*"]\n'})
    verdict = shop.gate("lint")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert f"files that ruff's own {section}.exclude leaves out: 2" in verdict.evidence.notes


def test_no_rule_at_all_is_no_pass(shop):
    shop.write({"ruff.toml": "[lint]\nselect = []\n"})
    assert shop.gate("lint").outcome is Outcome.INCONCLUSIVE
