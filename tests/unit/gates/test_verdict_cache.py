"""A pass stays cached while its inputs are the same; after any change, doubt or damage the gate runs again."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from deploykit.artifacts.git import tree_of
from deploykit.gates.run import run_gate
from deploykit.gates.test import data_fingerprint
from deploykit.gates.verdict_cache import age, cached_verdict
from deploykit.gates.verdict_files import record_verdict, verdict_path
from deploykit.model import Evidence, Outcome, Verdict
from deploykit.process.seal import sealed
from deploykit.settings.paths import state_home

CLEAN = {
    "--version": ("ruff 0.17.6\n", 0),
    "--show-files": ("/a.py\n", 0),
    "-v": ("[]", 0, "Checked 1 file in: 1ms"),
    "json": ("[]", 0),
    "check": ("", 0),
    "format": ("1 file already formatted\n", 0),
}
FINDING = [
    {
        "code": "F401",
        "message": "unused",
        "filename": "app.py",
        "location": {"row": 1, "column": 1},
        "fix": None,
        "url": "",
    }
]


class Runs:
    """Runs lint on a committed tree, and counts how often an environment was asked for."""

    def __init__(self, tree, toolbox, cache):
        self.tree, self.toolbox, self.made = tree, toolbox, 0
        self.environment = {"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(cache)}
        toolbox.says = dict(CLEAN)

    def __call__(self, **more):
        return run_gate(
            "lint",
            self.tree,
            tree=lambda: tree_of(self.tree),
            environment=self.environment,
            make_toolbox=self._make,
            **more,
        )

    def _make(self, *_):
        self.made += 1
        return self.toolbox


@pytest.fixture
def lint(tree, toolbox, tmp_path):
    git = ["git", "-C", str(tree), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)
    return Runs(tree, toolbox, tmp_path / "cache")


def test_a_cached_pass_has_its_evidence_and_age_and_nothing_is_made(lint):
    first = lint()
    again = lint()
    assert lint.made == 1
    assert again.outcome is Outcome.PASSED
    assert again.evidence.looked_at == first.evidence.looked_at
    assert again.evidence.seconds == first.evidence.seconds
    assert again.evidence.notes[0].startswith("not run again: nothing changed since it passed")


def test_it_stays_cached(lint):
    for _ in range(3):
        lint()
    assert lint.made == 1


def _edit(lint):
    (lint.tree / "app.py").write_text("VALUE = 2\n")


def _new_file(lint):
    (lint.tree / "new.py").write_text("VALUE = 2\n")


def _settings(lint):
    (lint.tree / "pyproject.toml").write_text('[tool.deploykit.lint]\npaths = ["app.py"]\n')


def _variable(lint):
    lint.environment["RUFF_CONFIG"] = "other.toml"


def _unseen_by_git(lint):
    subprocess.run(["git", "-C", lint.tree, "update-index", "--assume-unchanged", "app.py"], check=True)


def _edited_verdict(lint):
    path = verdict_path(lint.tree, "lint")
    content = json.loads(path.read_text())
    content["evidence"]["looked_at"] = 99
    path.write_text(json.dumps(content))


def _unreadable_inputs(lint):
    (lint.tree / ".deploykit/inputs/lint.json").write_text("{")


def _edited_inputs(lint):
    path = lint.tree / ".deploykit/inputs/lint.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"given_at": 1.0}))


def _another_machines_key(_lint):
    os.environ["DEPLOYKIT_STATE_DIR"] += "-other"


def _broken_key(_lint):
    Path(os.environ["DEPLOYKIT_STATE_DIR"], "seal.key").write_bytes(b"")


def _another_gates_inputs(lint):
    path = lint.tree / ".deploykit/inputs/lint.json"
    path.write_text(json.dumps(sealed(json.loads(path.read_text()) | {"gate": "test"}, state_home())))


def _no_verdict(lint):
    verdict_path(lint.tree, "lint").unlink()


def _forced_by_variable(lint):
    lint.environment["DEPLOYKIT_FORCE"] = "1"


@pytest.mark.parametrize(
    "change",
    [
        _edit,
        _new_file,
        _settings,
        _variable,
        _unseen_by_git,
        _edited_verdict,
        _unreadable_inputs,
        _edited_inputs,
        _another_machines_key,
        _another_gates_inputs,
        _broken_key,
        _no_verdict,
        _forced_by_variable,
    ],
)
def test_a_change_or_a_doubt_has_it_run_again(lint, change):
    lint()
    change(lint)
    assert lint().outcome is Outcome.PASSED
    assert lint.made == 2


def test_force_runs_it(lint):
    lint()
    lint(force=True)
    assert lint.made == 2


def test_findings_and_doubt_are_never_cached(lint):
    for says in ({**CLEAN, "-v": (json.dumps(FINDING), 1, "Checked 1 file in: 1ms")}, {"*": ("", 97)}):
        lint.toolbox.says = says
        made = lint.made
        assert lint().outcome is not Outcome.PASSED
        assert lint().outcome is not Outcome.PASSED
        assert lint.made == made + 2


def test_a_failure_after_a_pass_leaves_nothing_cached(lint):
    lint()
    lint.toolbox.says = {"*": ("", 97)}
    assert lint(force=True).outcome is Outcome.INCONCLUSIVE
    lint.toolbox.says = CLEAN
    lint()
    assert lint.made == 3


def test_a_narrowed_run_is_neither_cached_nor_answered_from_the_cache(lint):
    lint(arguments=["app.py"])
    lint()
    lint(arguments=["app.py"])
    assert lint.made == 3


def test_an_edit_while_the_gate_looks_leaves_nothing_cached(lint):
    make = lint._make

    def make_and_edit(*words):
        made = make(*words)
        original = made.tool

        def tool(name):
            (lint.tree / "app.py").write_text("VALUE = 3\n")
            return original(name)

        made.tool = tool
        return made

    lint._make = make_and_edit
    lint()
    lint()
    assert lint.made == 2


def test_outside_git_nothing_is_cached(toolbox, tmp_path):
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "app.py").write_text("VALUE = 1\n")
    lint = Runs(folder, toolbox, tmp_path / "cache")
    lint()
    lint()
    assert lint.made == 2


@pytest.fixture
def noted(tree):
    """Records a pass with a note of its inputs, and asks whether it is cached."""
    from deploykit.gates.verdict_cache import record_inputs

    def note(gate, settings, *, now=1000.0, asked_at=1001.0):
        evidence = Evidence(looked_at=1, unit="packages", tool="t", tool_version="1", settings=settings)
        verdict = Verdict(gate=gate, outcome=Outcome.PASSED, evidence=evidence, tree="a" * 40)
        record_verdict(tree, verdict)
        record_inputs(tree, verdict, "inputs", now=now)
        return cached_verdict(tree, gate, "inputs", now=asked_at) is not None

    return note


def test_an_audit_is_cached_only_until_its_advisories_are_too_old(noted):
    assert noted("audit", {"good_until": 2000}, asked_at=1999.0)
    assert not noted("audit", {"good_until": 2000}, asked_at=2000.0)
    assert not noted("audit", {"good_until": "soon"})
    assert not noted("audit", {})  # asked online


def test_a_verdict_from_the_future_is_not_cached(noted):
    assert noted("lint", {})
    assert not noted("lint", {}, now=time.time(), asked_at=1000.0)


def test_tests_are_cached_only_with_the_data_that_coverage_is_judged_from(noted, tree):
    data = tree / ".deploykit" / "coverage" / "test"
    data.mkdir(parents=True)
    (data / "data.1").write_bytes(b"measured")
    assert noted("test", {"coverage_data": data_fingerprint(data)})
    assert not noted("test", {"coverage_data": "another"})
    assert not noted("test", {"coverage_data": ""})


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3600, "1 h"), (86_400, "24 h"), (200_000, "2 days")]
)
def test_ages_are_short(seconds, said):
    assert age(seconds) == said
