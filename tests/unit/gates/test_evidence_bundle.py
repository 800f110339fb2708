"""A bundle carries the evidence of its own tree, and nothing else."""

from __future__ import annotations

import hashlib
import json

import pytest

from deploykit.gates.evidence_bundle import export_evidence, import_evidence
from deploykit.gates.verdict_files import read_recorded, read_verdict, record_verdict
from deploykit.model import Evidence, Finding, InconclusiveError, Outcome, UsageError, Verdict

TREE, OTHER = "a" * 40, "b" * 40
LOOKED = Evidence(looked_at=3, unit="files", tool="t", tool_version="1", settings={"paths": "."}, notes=("one",))


def passed(gate, tree=TREE):
    return Verdict(gate=gate, outcome=Outcome.PASSED, evidence=LOOKED, tree=tree)


def failed(gate, tree=TREE):
    found = (Finding(rule="F401", message="unused"),)
    return Verdict(gate=gate, outcome=Outcome.FINDINGS, evidence=LOOKED, findings=found, tree=tree)


@pytest.fixture
def there(tmp_path):
    root = tmp_path / "there"
    root.mkdir()
    for verdict in (passed("test"), passed("security"), failed("lint"), passed("typing", OTHER)):
        record_verdict(root, verdict, now=1000.0)
    return root


@pytest.fixture
def here(tmp_path):
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


@pytest.fixture
def file(there, tmp_path):
    export_evidence(there, tmp_path / "evidence.json", tree=TREE)
    return tmp_path / "evidence.json"


def test_a_bundle_keeps_the_passes_of_this_tree_with_their_times(there, here, file):
    taken = import_evidence(here, file, tree=TREE)
    assert [verdict.gate for verdict in taken] == ["security", "test"]
    assert read_verdict(here, "test") == read_verdict(there, "test")
    assert read_recorded(here, "test")[1]["recorded_at"] == 1000.0
    assert read_verdict(here, "lint") is None


def test_another_trees_evidence_is_refused(here, file):
    with pytest.raises(UsageError, match="evidence of another tree") as caught:
        import_evidence(here, file, tree=OTHER)
    assert "invoke ci" in caught.value.next_step
    assert read_verdict(here, "test") is None


def _changed(file, change, *, with_digest=False):
    content = json.loads(file.read_text())
    change(content)
    if with_digest:
        content.pop("digest")
        content["digest"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_text(file.read_text()[:-40]),
        lambda file: file.write_bytes(b"\xff\xfe"),
        lambda file: file.write_text("[]"),
        lambda file: file.write_text("[" * 100_000),
        lambda file: _changed(file, lambda it: it["verdicts"][0]["evidence"].update(looked_at=9)),
        lambda file: _changed(file, lambda it: it.pop("digest")),
        lambda file: _changed(file, lambda it: it.update(format="deploykit evidence 2"), with_digest=True),
        lambda file: _changed(file, lambda it: it["verdicts"].clear(), with_digest=True),
        lambda file: _changed(file, lambda it: it["verdicts"][0].update(tree=OTHER), with_digest=True),
        lambda file: _changed(file, lambda it: it["verdicts"][0].update(gate="../../outside"), with_digest=True),
        lambda file: _changed(file, lambda it: it["verdicts"][0].update(outcome="inconclusive"), with_digest=True),
        lambda file: _changed(file, lambda it: it["verdicts"][1].pop("evidence"), with_digest=True),
        lambda file: _changed(file, lambda it: it["verdicts"][1].pop("recorded_at"), with_digest=True),
    ],
)
def test_a_damaged_file_is_refused_whole(here, file, damage):
    damage(file)
    with pytest.raises(InconclusiveError, match="is damaged, or not evidence") as caught:
        import_evidence(here, file, tree=TREE)
    assert "invoke evidence.export" in caught.value.next_step
    assert not (here / ".deploykit").exists()


@pytest.mark.parametrize(
    "forge",
    [
        lambda item: item.pop("seal"),
        lambda item: item.update(seal="0" * 64),
        lambda item: item.update(recorded_at=2000.0),
        lambda item: item["evidence"].update(tool_version="2"),
    ],
)
def test_a_file_that_was_not_sealed_here_proves_nothing(here, file, forge):
    """Its digest finds damage, and anybody can write one that is right."""
    _changed(file, lambda it: forge(it["verdicts"][0]), with_digest=True)
    with pytest.raises(UsageError, match="was not sealed with this machine's key, so it proves nothing here") as caught:
        import_evidence(here, file, tree=TREE)
    assert caught.value.next_step == "run the gates here: invoke ci"
    assert not (here / ".deploykit").exists()


def test_what_another_machine_exported_is_refused_until_it_can_be_proven(here, file, monkeypatch, tmp_path):
    monkeypatch.setenv("DEPLOYKIT_STATE_DIR", str(tmp_path / "other"))
    with pytest.raises(UsageError, match="was not sealed with this machine's key"):
        import_evidence(here, file, tree=TREE)


def test_it_undoes_no_failure_on_the_same_tree(here, file):
    record_verdict(here, failed("test"))
    with pytest.raises(InconclusiveError, match="test did not pass on exactly this tree here"):
        import_evidence(here, file, tree=TREE)
    assert read_verdict(here, "test").outcome is Outcome.FINDINGS
    assert read_verdict(here, "security") is None


def test_a_failure_on_another_tree_is_replaced(here, file):
    record_verdict(here, failed("test", OTHER))
    import_evidence(here, file, tree=TREE)
    assert read_verdict(here, "test").outcome is Outcome.PASSED


def test_nothing_passed_or_no_git_is_said(there, here, tmp_path):
    with pytest.raises(InconclusiveError, match="no gate has passed on exactly this tree"):
        export_evidence(there, tmp_path / "e", tree="c" * 40)
    with pytest.raises(UsageError, match="no tree that evidence could be bound to"):
        export_evidence(there, tmp_path / "e", tree="")
    with pytest.raises(UsageError, match="can't be read"):
        import_evidence(here, tmp_path / "nothing", tree=TREE)
    with pytest.raises(UsageError, match="can't be written"):
        export_evidence(there, tmp_path / "no" / "folder", tree=TREE)
