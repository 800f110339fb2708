from __future__ import annotations

import pytest

from deploykit.gates.run import run_gate
from deploykit.gates.verdict_files import read_verdict
from deploykit.model import Outcome, UsageError

CLEAN = {
    "--version": ("ruff 0.17.6\n", 0),
    "--show-files": ("/a.py\n", 0),
    "-v": ("[]", 0, "Checked 2 files in: 1ms"),
    "json": ("[]", 0),
    "check": ("", 0),
    "format": ("2 files already formatted\n", 0),
}


def ask(name, root, toolbox, **more):
    return run_gate(name, root, make_toolbox=lambda *_: toolbox, **more)


def test_a_verdict_is_bound_to_the_tree_timed_and_recorded(tree, toolbox):
    toolbox.says = CLEAN
    verdict = ask("lint", tree, toolbox, tree=lambda: "a" * 40)
    assert (verdict.outcome, verdict.tree) == (Outcome.PASSED, "a" * 40)
    assert verdict.evidence.seconds > 0
    assert read_verdict(tree, "lint") == verdict


def test_a_narrowed_run_is_not_recorded(tree, toolbox):
    toolbox.says = CLEAN
    assert ask("lint", tree, toolbox, arguments=["app.py"]).outcome is Outcome.PASSED
    assert read_verdict(tree, "lint") is None


def test_who_records_can_be_said(tree, toolbox):
    toolbox.says = CLEAN
    seen = []
    ask("lint", tree, toolbox, record=seen.append, tree="b" * 40)
    assert [verdict.tree for verdict in seen] == ["b" * 40]
    assert read_verdict(tree, "lint") is None


def test_an_unknown_gate_is_a_usage_error_with_the_nearest_name(tree):
    with pytest.raises(UsageError, match="did you mean 'audit'"):
        run_gate("adit", tree)


def test_a_folder_that_is_none_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="no folder"):
        run_gate("lint", tmp_path / "nothing")


def test_broken_settings_are_a_usage_verdict_with_every_mistake(tree, toolbox):
    (tree / "pyproject.toml").write_text("[tool.deploykit]\nappp = 'x'\n[tool.deploykit.lint]\npathz = []\n")
    verdict = ask("lint", tree, toolbox)
    assert verdict.outcome is Outcome.USAGE
    assert any("pathz" in note for note in verdict.evidence.notes)
    assert any("appp" in note for note in verdict.evidence.notes)


def test_security_runs_its_three_and_joins_them(tree, toolbox):
    toolbox.says = {"*": ("", 97)}
    verdict = ask("security", tree, toolbox, tree="c" * 40)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "sast inconclusive" in verdict.reason
    assert {name for name in ("sast", "audit", "secrets", "security") if read_verdict(tree, name)} == {
        "sast",
        "audit",
        "secrets",
        "security",
    }
