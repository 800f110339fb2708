"""format, image and workflows with the real ruff, hadolint and zizmor."""

from __future__ import annotations

import pytest

from deploykit.model import Outcome, Severity

GOOD_IMAGE = "FROM debian:12@sha256:" + "0" * 64 + '\nCMD ["true"]\n'
BAD_IMAGE = "FROM debian\nRUN cd /srv && ls\n"
GOOD_WORKFLOW = """\
name: check
on: push
permissions: {}
jobs:
  check:
    name: check
    runs-on: ubuntu-latest
    steps:
      - run: echo hello
"""
INJECTION = GOOD_WORKFLOW.replace("on: push", "on: pull_request_target").replace(
    "echo hello", "echo ${{ github.event.pull_request.title }}"
)
WORKFLOW = ".github/workflows/check.yml"


def test_format_counts_the_files_and_names_those_that_are_not(shop):
    verdict = shop.gate("format")
    assert (verdict.outcome, verdict.evidence.looked_at) == (Outcome.PASSED, 2)
    shop.write({"shop/bad.py": "x=1\n", "shop/broken.py": "def (:\n"})
    verdict = shop.gate("format")
    assert verdict.outcome is Outcome.FINDINGS
    assert {(f.path, f.rule) for f in verdict.findings} == {("shop/bad.py", "format"), ("shop/broken.py", "syntax")}


def test_format_that_is_told_to_leave_everything_out_is_no_pass(shop):
    shop.write({"ruff.toml": '[format]\nexclude = ["*"]\n'})
    assert shop.gate("format").outcome is Outcome.INCONCLUSIVE


def test_every_dockerfile_is_linted_wherever_it_is(shop):
    shop.write({"Dockerfile": GOOD_IMAGE, "deploy/worker.Dockerfile": GOOD_IMAGE})
    verdict = shop.gate("image")
    assert (verdict.outcome, verdict.evidence.looked_at) == (Outcome.PASSED, 2), verdict
    assert verdict.evidence.tool_version
    shop.write({"deploy/worker.Dockerfile": BAD_IMAGE})
    verdict = shop.gate("image")
    assert verdict.outcome is Outcome.FINDINGS
    assert ("deploy/worker.Dockerfile", 1, "DL3006") in {(f.path, f.line, f.rule) for f in verdict.findings}


def test_a_dockerfile_that_can_not_be_parsed_is_a_finding(shop):
    shop.write({"Dockerfile": "FRM debian\n"})
    verdict = shop.gate("image")
    assert [finding.rule for finding in verdict.findings] == ["DL1000"]


def test_hadolint_configuration_of_the_user_and_of_variables_changes_nothing(shop, tmp_path):
    (tmp_path / ".hadolint.yaml").write_text("ignored: [DL3006, DL3003]\n")
    shop.write({"Dockerfile": BAD_IMAGE})
    verdict = shop.gate("image", environment={"HOME": str(tmp_path), "HADOLINT_IGNORE": "DL3006,DL3003"})
    assert verdict.outcome is Outcome.FINDINGS


def test_a_hadolint_configuration_that_can_not_be_read_is_inconclusive(shop):
    shop.write({"Dockerfile": GOOD_IMAGE, ".hadolint.yaml": "ignored: [\n"})
    assert shop.gate("image").outcome is Outcome.INCONCLUSIVE


def test_workflows_pass_with_their_number_and_an_injection_is_found_at_its_line(shop):
    shop.write({WORKFLOW: GOOD_WORKFLOW})
    verdict = shop.gate("workflows")
    assert (verdict.outcome, verdict.evidence.looked_at) == (Outcome.PASSED, 1), verdict
    shop.write({WORKFLOW: INJECTION})
    verdict = shop.gate("workflows")
    assert verdict.outcome is Outcome.FINDINGS
    found = {(finding.path, finding.line, finding.rule) for finding in verdict.findings}
    assert (WORKFLOW, 9, "template-injection") in found
    assert Severity.HIGH in {finding.severity for finding in verdict.findings}


def test_a_workflow_that_is_ignored_by_git_is_none(shop):
    shop.write({WORKFLOW: INJECTION, ".gitignore": ".github/\n"})
    shop.commit()
    assert shop.gate("workflows").outcome is Outcome.USAGE


@pytest.mark.parametrize("text", ["on: [push\n", "name: nothing\n"])
def test_one_broken_workflow_among_good_ones_is_inconclusive(shop, text):
    shop.write({WORKFLOW: GOOD_WORKFLOW, ".github/workflows/broken.yml": text})
    verdict = shop.gate("workflows")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert any("broken.yml" in note for note in verdict.evidence.notes), verdict


@pytest.mark.parametrize(("gate", "missing"), [("image", "Dockerfile"), ("workflows", "workflow")])
def test_a_gate_without_a_subject_is_a_usage_error_that_says_so(shop, gate, missing):
    verdict = shop.gate(gate)
    assert verdict.outcome is Outcome.USAGE
    assert f"there is no {missing}" in verdict.reason
