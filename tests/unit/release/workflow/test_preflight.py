"""The evidence that a release asks for is that of exactly its tree, and of what gates obey around it."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import pytest

from deploykit.artifacts.git import read_tree, tree_of
from deploykit.gates.verdict_files import record_verdict
from deploykit.model import Evidence, Outcome, Verdict
from deploykit.release.workflow.preflight import _evidence


class Ledger:
    """The newest verdict of a gate on a tree."""

    def __init__(self):
        self.kept = {}

    def evidence(self, gate, tree):
        return self.kept.get((gate, tree))

    def add_evidence(self, verdict):
        self.kept[verdict.gate, verdict.tree] = verdict


@pytest.fixture
def service(tmp_path):
    """A service in a sub-folder whose lint has passed, and a question for what is missing."""
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
    return SimpleNamespace(top=tmp_path, missing=lambda: _evidence(environment, SimpleNamespace(tree=read_tree(root))))


def test_a_pass_on_a_sub_folder_is_evidence(service):
    assert service.missing() == []


@pytest.mark.parametrize("name", ["ruff.toml", "services/shared/money.py"])
def test_it_is_none_after_a_change_around_the_sub_folder(service, name):
    assert service.missing() == []  # it is in the ledger now
    (service.top / name).parent.mkdir(exist_ok=True)
    (service.top / name).write_text("# changed\n")
    (problem,) = service.missing()
    assert problem.message.startswith("there is no evidence that gate lint passed on exactly this tree")
