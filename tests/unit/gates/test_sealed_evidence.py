"""Evidence that was written by hand, committed, linked to or copied is none."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from deploykit.artifacts.git import tree_of
from deploykit.gates.evidence_bundle import import_evidence
from deploykit.gates.run import run_gate
from deploykit.gates.verdict_files import (
    prepare_work_folder,
    read_verdict,
    record_verdict,
    reject_foreign_evidence,
    verdict_path,
)
from deploykit.model import Evidence, Outcome, UsageError, Verdict
from deploykit.process.seal import is_sealed, sealed

if TYPE_CHECKING:
    from pathlib import Path

TREE = "a" * 40
ENVIRONMENT = {"PATH": os.environ["PATH"]}
SEEN = Evidence(looked_at=3, unit="files", tool="t", tool_version="1", settings={"paths": ".", "good_until": 9e9})


def passed(gate: str, tree: str = TREE) -> Verdict:
    return Verdict(gate=gate, outcome=Outcome.PASSED, evidence=SEEN, tree=tree)


def by_hand(root: Path, gate: str, content: dict[str, Any]) -> None:
    path = verdict_path(root, gate)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_a_verdict_that_was_written_by_hand_is_none(tree: Path) -> None:
    by_hand(tree, "test", passed("test").as_json() | {"recorded_at": 1.0, "run": ""})
    assert read_verdict(tree, "test") is None
    by_hand(tree, "test", passed("test").as_json() | {"recorded_at": 1.0, "run": "", "seal": "0" * 64})
    assert read_verdict(tree, "test") is None


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": "passed"},
        {"tree": "b" * 40},
        {"gate": "lint"},
        {"recorded_at": 9e9},
        {"run": "another"},
        {"evidence": {"looked_at": 9, "unit": "files", "tool": "t", "tool_version": "1", "settings": {}, "notes": []}},
        {"reason": "another"},
        {"more": 1},
    ],
)
def test_no_part_of_a_sealed_verdict_can_be_changed(tree: Path, change: dict[str, Any]) -> None:
    found = Verdict(gate="test", outcome=Outcome.INCONCLUSIVE, evidence=SEEN, tree=TREE, reason="r", next_step="n")
    content = json.loads(record_verdict(tree, found, now=1.0).read_text())
    assert read_verdict(tree, "test") == found
    by_hand(tree, "test", {**content, **change})
    assert read_verdict(tree, "test") is None


def test_a_sealed_verdict_under_another_gates_name_is_none(tree: Path) -> None:
    by_hand(tree, "security", json.loads(record_verdict(tree, passed("lint")).read_text()))
    assert read_verdict(tree, "security") is None


def test_what_another_machine_sealed_is_none_and_no_error(tree: Path, monkeypatch: Any, tmp_path: Path) -> None:
    record_verdict(tree, passed("test"))
    monkeypatch.setenv("DEPLOYKIT_STATE_DIR", str(tmp_path / "other"))
    assert read_verdict(tree, "test") is None
    assert not (tmp_path / "other").exists(), "reading makes no key"


def test_the_key_is_its_owners_alone_and_one_that_others_can_read_seals_nothing(tree: Path, state_folder: Path) -> None:
    record_verdict(tree, passed("test"))
    key = state_folder / "seal.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    key.chmod(0o640)
    assert read_verdict(tree, "test") is None
    with pytest.raises(UsageError, match="is not readable by you alone, so its seals prove nothing") as caught:
        record_verdict(tree, passed("test"))
    assert caught.value.next_step.startswith(f"rm {key}")
    assert not verdict_path(tree, "test").exists(), "an earlier verdict stayed in its place"


def test_all_who_make_the_key_at_once_have_the_same(state_folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: sealed({"number": number}, state_folder), range(16)))
    assert all(is_sealed(each, state_folder) for each in made)
    assert [path.name for path in state_folder.iterdir()] == ["seal.key"]


def git(tree: Path, *words: str) -> None:
    subprocess.run(["git", "-C", tree, "-c", "user.name=t", "-c", "user.email=t@example.org", *words], check=True)


def linked(tree: Path) -> None:
    (tree / "evil" / "verdicts").mkdir(parents=True)
    (tree / ".deploykit").symlink_to("evil")
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "A link")


def linked_inside(tree: Path) -> None:
    (tree / "evil").mkdir()
    (tree / ".deploykit").mkdir()
    (tree / ".deploykit" / "verdicts").symlink_to("../evil")


def tracked(tree: Path) -> None:
    by_hand(tree, "test", passed("test").as_json())
    git(tree, "add", "-f", ".deploykit")


def of_another_user(tree: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to somebody else")
    by_hand(tree, "test", passed("test").as_json())
    os.chown(tree / ".deploykit" / "verdicts", 65534, 65534)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (linked, "is a symbolic link"),
        (linked_inside, "is a symbolic link"),
        (tracked, "is tracked by git"),
        (of_another_user, "belongs to another user"),
    ],
)
def test_a_folder_that_others_could_fill_is_refused(tree: Path, tmp_path: Path, spoil: Any, why: str) -> None:
    spoil(tree)
    with pytest.raises(UsageError, match=why) as caught:
        reject_foreign_evidence(tree)
    assert caught.value.next_step.split()[0] in {"rm", "git"}
    verdict = run_gate("lint", tree, tree=lambda: tree_of(tree), environment=ENVIRONMENT, annotate=lambda _line: None)
    assert (verdict.outcome, why in verdict.reason) == (Outcome.USAGE, True)
    with pytest.raises(UsageError, match=why):
        import_evidence(tree, tmp_path / "evidence.json", tree=TREE)


def test_nothing_is_written_through_a_link(tree: Path) -> None:
    linked(tree)
    with pytest.raises(UsageError, match="is a symbolic link"):
        prepare_work_folder(tree)
    with pytest.raises(UsageError, match="is a symbolic link"):
        record_verdict(tree, passed("test"))
    assert list((tree / "evil" / "verdicts").iterdir()) == []
