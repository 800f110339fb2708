"""Where a gate can't write its verdict, its reports or its caches, it judges all the same, or says one sentence."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import replace

import pytest

from deploykit.artifacts.git import tree_of
from deploykit.gates.evidence_bundle import export_evidence, import_evidence
from deploykit.gates.run import run_gate
from deploykit.gates.secrets import SecretsGate
from deploykit.gates.tooling import tool_caches
from deploykit.gates.verdict_files import read_verdict, record_verdict, verdict_path
from deploykit.model import Evidence, Outcome, UsageError, Verdict
from tests.unit.gates.test_verdict_cache import CLEAN


@pytest.fixture
def run(tree, toolbox, tmp_path):
    """Run a gate on the tree, whose work folder is a file, so that nothing can be written there."""
    toolbox.says = dict(CLEAN)
    (tree / ".deploykit").write_text("in the way\n")

    def run(name="lint", **more):
        environment = {"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(tmp_path / "cache"), "CI": ""}
        return run_gate(name, tree, environment=environment | more, make_toolbox=lambda *_: toolbox, annotate=print)

    return run


def test_a_gate_judges_and_says_that_nothing_was_written(run):
    for name in ("lint", "secrets"):
        verdict = run(name)
        assert verdict.outcome is Outcome.PASSED
        (note,) = [note for note in verdict.evidence.notes if note.startswith("not written:")]
        assert note.startswith("not written: the folder .deploykit of the tree can't be written: ")


def test_findings_are_still_findings(run, tree):
    (tree / "keys.py").write_text('key = "AKIA' + 'J5T2WQ8NZX4LMB7R"\n')
    assert run("secrets").outcome is Outcome.FINDINGS


def test_tests_need_the_folder_and_are_refused(run):
    verdict = run("test")
    assert verdict.outcome is Outcome.USAGE
    assert verdict.reason.startswith("the folder .deploykit of the tree can't be written: ")
    assert verdict.next_step


def test_three_gates_together_are_joined_all_the_same(run):
    assert any(note.startswith("not written:") for note in run("security").evidence.notes)


def test_an_earlier_pass_does_not_stay_where_the_new_verdict_can_not_be_written(tree, monkeypatch):
    evidence = Evidence(looked_at=1, unit="files", tool="t", tool_version="1")
    record_verdict(tree, Verdict(gate="lint", outcome=Outcome.PASSED, evidence=evidence, tree="a" * 40))

    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("deploykit.gates.verdict_files.write_atomically", full)
    with pytest.raises(UsageError, match="No space left on device"):
        record_verdict(tree, Verdict(gate="lint", outcome=Outcome.INCONCLUSIVE, evidence=evidence, tree="a" * 40))
    assert read_verdict(tree, "lint") is None


def test_a_folder_in_the_place_of_a_verdict_is_one_sentence(tree):
    evidence = Evidence(looked_at=1, unit="files", tool="t", tool_version="1")
    verdict_path(tree, "lint").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"\.deploykit of the tree can't be written"):
        record_verdict(tree, Verdict(gate="lint", outcome=Outcome.PASSED, evidence=evidence))


def test_evidence_that_can_not_be_written_is_one_sentence(tree, tmp_path):
    evidence = Evidence(looked_at=1, unit="files", tool="t", tool_version="1")
    record_verdict(tree, Verdict(gate="lint", outcome=Outcome.PASSED, evidence=evidence, tree="a" * 40))
    export_evidence(tree, tmp_path / "evidence.json", tree="a" * 40)
    subprocess.run(["rm", "-r", tree / ".deploykit"], check=True)
    (tree / ".deploykit").write_text("in the way\n")
    with pytest.raises(UsageError, match=r"\.deploykit of the tree can't be written"):
        import_evidence(tree, tmp_path / "evidence.json", tree="a" * 40)


def test_without_a_folder_for_temporary_files_a_verdict_is_bound_to_no_tree(tree, monkeypatch):
    git = ["git", "-C", tree, "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "commit", "-qm", "one", "--allow-empty"], check=True)
    (tree / "new.py").write_text("VALUE = 2\n")
    assert tree_of(tree)
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nonexistent")
    assert tree_of(tree) == ""


def test_a_cache_that_can_not_be_written_hides_no_finding_of_the_history(tree, context, tmp_path):
    git = ["git", "-C", str(tree), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    (tree / "keys.py").write_text('key = "AKIA' + 'J5T2WQ8NZX4LMB7R"\n')
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)
    (tmp_path / "cache").write_text("in the way\n")
    environment = {**context.environment, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    verdict = SecretsGate().run(replace(context, arguments=("--history",), environment=environment))
    assert verdict.outcome is Outcome.FINDINGS


def test_ruff_and_mypy_keep_no_cache_where_they_can_not(tree):
    caches = {"RUFF_CACHE_DIR": str(tree / ".ruff_cache"), "MYPY_CACHE_DIR": str(tree / ".mypy_cache")}
    assert tool_caches(tree) == caches
    nowhere = {"RUFF_NO_CACHE": "true", "MYPY_CACHE_DIR": os.devnull}
    assert tool_caches(tree / "gone") == nowhere
    (tree / ".ruff_cache").symlink_to("elsewhere")
    assert tool_caches(tree) == nowhere


@pytest.mark.parametrize("link", [".deploykit", ".deploykit/reports", ".deploykit/verdicts/lint.json"])
def test_nothing_is_written_or_removed_through_a_link_of_the_tree(tree, toolbox, tmp_path, link):
    """An attack: the work folder, or a part of it, is a link to a place that matters to the user."""
    outside = tmp_path / "outside"
    for name in ("inputs", "verdicts", "reports"):
        (outside / name).mkdir(parents=True)
        (outside / name / "lint.json").write_text("precious")
    (tree / link).parent.mkdir(parents=True, exist_ok=True)
    (tree / link).symlink_to(outside / "reports" / "lint.json" if link.endswith("json") else outside)
    before = {path: path.read_text() for path in outside.rglob("*") if path.is_file()}
    toolbox.says = dict(CLEAN)
    environment = {"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for name in ("lint", "test", "secrets"):
        verdict = run_gate(name, tree, environment=environment, make_toolbox=lambda *_: toolbox, annotate=print)
        assert verdict.outcome is Outcome.USAGE, name
        assert verdict.reason == f"{link} is a symbolic link, and the kit writes nothing through it"
        assert verdict.next_step == f"rm {link}"
    assert {path: path.read_text() for path in outside.rglob("*") if path.is_file()} == before
