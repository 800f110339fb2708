"""The evidence that a release asks for is that of exactly its tree, and of what gates obey around it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest

from deploykit.artifacts.git import read_tree, tree_of
from deploykit.gates.verdict_files import record_verdict, verdict_path
from deploykit.model import Evidence, Outcome, UsageError, Verdict
from deploykit.release.workflow.preflight import _evidence


class Ledger:
    """The newest verdict of a gate on a tree."""

    def __init__(self):
        self.kept = {}

    def evidence(self, gate, tree):
        return self.kept.get((gate, tree))

    def add_evidence(self, verdict):
        self.kept[verdict["gate"], verdict["tree"]] = verdict


@pytest.fixture
def service(tmp_path_factory, monkeypatch):
    """A service in a sub-folder whose lint has passed, and a question for what is missing."""
    tmp_path = tmp_path_factory.mktemp("repository")
    monkeypatch.setenv("DEPLOYKIT_STATE_DIR", str(tmp_path_factory.mktemp("state")))
    root = tmp_path / "services" / "api"
    root.mkdir(parents=True)
    (root / "app.py").write_text("VALUE = 1\n")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)
    seen = Evidence(looked_at=1, unit="files", tool="ruff", tool_version="1")
    record_verdict(root, Verdict(gate="lint", outcome=Outcome.PASSED, evidence=seen, tree=tree_of(root)))
    settings = SimpleNamespace(environment=SimpleNamespace(evidence=("lint",)))
    environment = SimpleNamespace(root=root, ledger=Ledger(), require_repository=lambda: settings)
    return SimpleNamespace(
        top=tmp_path,
        root=root,
        ledger=environment.ledger,
        verdict=Verdict(gate="lint", outcome=Outcome.PASSED, evidence=seen, tree=tree_of(root)),
        missing=lambda: _evidence(environment, SimpleNamespace(tree=read_tree(root))),
    )


def test_a_pass_on_a_sub_folder_is_evidence(service):
    assert service.missing() == []


@pytest.mark.parametrize("name", ["ruff.toml", "services/shared/money.py"])
def test_it_is_none_after_a_change_around_the_sub_folder(service, name):
    assert service.missing() == []  # it is in the ledger now
    (service.top / name).parent.mkdir(exist_ok=True)
    (service.top / name).write_text("# changed\n")
    (problem,) = service.missing()
    assert problem.message.startswith("there is no evidence that gate lint passed on exactly this tree")


def none_that_counts(service):
    (problem,) = service.missing()
    assert problem.message.startswith("there is no evidence that gate lint passed on exactly this tree")
    assert problem.next_step == "nox -s lint"


def test_two_files_written_by_hand_are_no_evidence(service):
    """One for the tree, and one for the ledger."""
    verdict_path(service.root, "lint").write_text(json.dumps(service.verdict.as_json() | {"recorded_at": 1.0}))
    none_that_counts(service)
    service.ledger.add_evidence(service.verdict.as_json() | {"recorded_at": 1.0, "run": "", "seal": "0" * 64})
    none_that_counts(service)


def test_sealed_evidence_in_the_ledger_counts_for_its_own_gate_and_tree(service):
    assert service.missing() == []
    verdict_path(service.root, "lint").unlink()
    assert service.missing() == []
    (kept,) = service.ledger.kept.values()
    service.ledger.kept = {("lint", service.verdict.tree): {**kept, "gate": "test"}}
    none_that_counts(service)
    record_verdict(service.root, replace(service.verdict, tree="f" * 40))
    service.ledger.kept = {("lint", service.verdict.tree): json.loads(verdict_path(service.root, "lint").read_text())}
    none_that_counts(service)


def test_an_older_pass_that_is_put_back_does_not_hide_a_newer_failure(service):
    older = verdict_path(service.root, "lint").read_text()
    found = replace(service.verdict, outcome=Outcome.INCONCLUSIVE, reason="r", next_step="n")
    record_verdict(service.root, found)
    assert "did not pass" in service.missing()[0].message
    verdict_path(service.root, "lint").write_text(older)
    assert "did not pass" in service.missing()[0].message


def test_evidence_behind_a_link_is_refused_with_the_line_that_ends_it(service):
    kept = service.top / "elsewhere"
    (service.root / ".deploykit").rename(kept)
    (service.root / ".deploykit").symlink_to(kept)
    (problem,) = service.missing()
    assert (problem.kind, "is a symbolic link" in problem.message) == (UsageError, True)
    assert problem.next_step == "rm .deploykit"
