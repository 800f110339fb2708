"""The secrets gate: what makes it green, and all that must not."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace

import pytest

from deploykit.gates.secrets import SecretsGate, in_ci
from deploykit.gates.secretscan.baseline import Baseline, Entry, read_baseline, refreshed
from deploykit.gates.secretscan.scan import scan_files
from deploykit.model import InconclusiveError, Outcome, UsageError

KEY = "AKIA" + "J5T2WQ8NZX4LMB7R"
LEAK = f'key = "{KEY}"\n'


@pytest.fixture
def gate(context, tree, tmp_path):
    """Run the gate on the tree, outside CI unless a test says otherwise."""

    def run(*arguments, ci=False, exclude=(), **more):
        environment = {
            **context.environment,
            **more,
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "CI": "true" if ci else "",
        }
        here = replace(context, environment=environment, arguments=arguments)
        return SecretsGate(exclude=exclude).run(here)

    return run


@pytest.fixture
def baseline(tree):
    """Write a baseline of what is in the tree, with a label for every entry, or None."""

    def write(label):
        report = scan_files(tree, ["keys.py"], Baseline().rules())
        known = refreshed(Baseline(), report.secrets)
        entries = {key: Entry(is_secret=label) for key in known.entries}
        (tree / ".secrets.baseline").write_text(replace(known, entries=entries).render())

    return write


def git(tree, *words):
    subprocess.run(["git", "-C", tree, "-c", "user.name=t", "-c", "user.email=t@example.org", *words], check=True)


def test_a_tree_without_secrets_passes_with_the_number_of_files(gate):
    verdict = gate()
    assert (verdict.outcome, verdict.evidence.looked_at) == (Outcome.PASSED, 2)


def test_with_force_no_file_is_known_from_an_earlier_scan(gate):
    known = "files known from an earlier scan by their content: 2"
    gate()
    assert known in gate().evidence.notes
    assert not [note for note in gate(DEPLOYKIT_FORCE="1").evidence.notes if "earlier scan" in note]


def test_a_secret_is_a_finding_that_shows_neither_it_nor_its_hash(gate, tree):
    (tree / "keys.py").write_text(LEAK)
    verdict = gate()
    assert [(f.path, f.line, f.rule) for f in verdict.findings] == [("keys.py", 1, "AWS Access Key")]
    assert KEY not in json.dumps(verdict.as_json())


def test_a_credential_file_that_detect_secrets_does_not_know_is_a_finding(gate, tree):
    (tree / ".netrc").write_text("machine example.com login anna password larch\n")
    assert [(f.path, f.rule) for f in gate().findings] == [(".netrc", "Netrc Password")]


@pytest.mark.parametrize("ci", [False, True])
def test_one_that_was_labelled_as_none_passes(gate, tree, baseline, ci):
    (tree / "keys.py").write_text(LEAK)
    baseline(label=False)
    assert gate(ci=ci).outcome is Outcome.PASSED


@pytest.mark.parametrize("ci", [False, True])
def test_one_that_was_labelled_as_real_is_a_finding(gate, tree, baseline, ci):
    (tree / "keys.py").write_text(LEAK)
    baseline(label=True)
    assert gate(ci=ci).outcome is Outcome.FINDINGS


def test_one_that_nobody_labelled_is_a_finding_in_ci(gate, tree, baseline):
    (tree / "keys.py").write_text(LEAK)
    baseline(label=None)
    assert "nobody has labelled it" in gate(ci=True).findings[0].message


def test_a_baseline_that_covers_everything_unlabelled_is_no_evidence_anywhere(gate, tree, baseline):
    (tree / "keys.py").write_text(LEAK)
    baseline(label=None)
    verdict = gate()
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.next_step == "invoke secrets.audit"


def test_an_unlabelled_one_among_labelled_ones_is_noted_outside_ci(gate, tree, baseline):
    (tree / "keys.py").write_text(LEAK + LEAK.replace("J5T", "J6T"))
    baseline(label=False)
    known = read_baseline(tree / ".secrets.baseline")
    first = next(iter(known.entries))
    (tree / ".secrets.baseline").write_text(replace(known, entries={**known.entries, first: Entry()}).render())
    verdict = gate()
    assert verdict.outcome is Outcome.PASSED
    assert any("nobody has labelled" in note and note.endswith(": 1") for note in verdict.evidence.notes)


def test_code_that_moves_is_no_finding(gate, tree, baseline):
    (tree / "keys.py").write_text(LEAK)
    baseline(label=False)
    (tree / "keys.py").write_text("\n" * 50 + LEAK)
    assert gate().outcome is Outcome.PASSED


def test_a_baseline_of_another_file_covers_nothing_here(gate, tree, baseline):
    (tree / "keys.py").write_text(LEAK)
    baseline(label=False)
    (tree / "keys.py").rename(tree / "other.py")
    assert [f.path for f in gate().findings] == ["other.py"]


def test_a_baseline_that_is_cut_off_is_inconclusive(gate, tree):
    (tree / ".secrets.baseline").write_text('{"version": "1.5.0", ')
    with pytest.raises(InconclusiveError, match="can't be read"):
        gate()


def test_what_could_not_be_read_is_inconclusive_and_named(gate, tree, monkeypatch):
    (tree / "keys.py").write_text("x\n")
    real = os.open
    monkeypatch.setattr(
        os,
        "open",
        lambda path, *more, **named: _denied() if str(path).endswith("keys.py") else real(path, *more, **named),
    )
    verdict = gate()
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "keys.py (Permission denied)" in verdict.reason


def _denied():
    raise PermissionError(13, "Permission denied")


def test_a_file_that_can_not_be_read_hides_no_finding(gate, tree):
    (tree / "keys.py").write_text(LEAK)
    assert gate("keys.py", "nowhere.py").outcome is Outcome.FINDINGS


def test_a_file_that_is_longer_than_the_limit_is_inconclusive(gate, tree):
    with (tree / "huge.sql").open("wb") as stream:
        stream.truncate(100_000_001)
    assert "longer than 100 MB" in gate().reason


def test_a_tree_without_files_is_inconclusive(gate, tree):
    (tree / "app.py").unlink()
    (tree / "tests" / "test_app.py").unlink()
    assert gate().outcome is Outcome.INCONCLUSIVE


def test_named_files_that_are_not_there_are_inconclusive(gate):
    assert gate("nowhere.py").outcome is Outcome.INCONCLUSIVE


def test_only_binary_files_are_inconclusive(gate, tree):
    (tree / "a.dat").write_bytes(b"\0\xff")
    verdict = gate("a.dat")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "binary files not looked into: 1" in verdict.evidence.notes


def test_what_was_left_out_is_said(gate, tree):
    (tree / "a.dat").write_bytes(b"\0\xff")
    (tree / "b.css").write_text(LEAK)
    (tree / "latin.py").write_bytes(b"# caf\xe9\n")
    (tree / "data").mkdir()
    (tree / "data" / "keys.py").write_text(LEAK)
    (tree / "loop").symlink_to("loop")
    notes = " | ".join(gate(exclude=("data",)).evidence.notes)
    for said in (
        "binary files not looked into: 1",
        "detect-secrets' own filters: 1 (b.css)",
        "not UTF-8, read all the same: 1",
        "security.secrets.exclude: 1",
        "symbolic links not followed: 1",
    ):
        assert said in notes


def test_a_submodule_is_said_not_to_be_looked_into(gate, tree, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    (other / "keys.py").write_text(LEAK)
    git(other, "add", "-A")
    git(other, "commit", "-q", "-m", "x")
    git(tree, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "part")
    verdict = gate()
    assert any("submodules" in note for note in verdict.evidence.notes)
    assert verdict.outcome is Outcome.PASSED


def test_an_unknown_option_is_a_usage_error(gate):
    with pytest.raises(UsageError, match="--stagged"):
        gate("--stagged")
    with pytest.raises(UsageError, match="one at a time"):
        gate("--staged", "--history")


def test_the_hook_looks_at_what_is_staged_and_not_at_the_tree(gate, tree):
    (tree / "keys.py").write_text(LEAK)
    git(tree, "add", "keys.py")
    (tree / "keys.py").write_text("clean\n")
    (tree / "more.py").write_text(LEAK)
    assert [f.path for f in gate("--staged").findings] == ["keys.py"]


def test_nothing_staged_is_inconclusive(gate):
    assert gate("--staged").outcome is Outcome.INCONCLUSIVE


def test_a_commit_that_only_deletes_files_passes_and_says_so(gate, tree):
    git(tree, "add", "-A")
    git(tree, "commit", "-q", "-m", "x")
    git(tree, "rm", "-q", "app.py")
    verdict = gate("--staged")
    assert verdict.outcome is Outcome.PASSED
    assert "staged deletions: 1" in verdict.evidence.notes


def test_a_staged_link_or_submodule_is_said(gate, tree):
    (tree / "link").symlink_to("app.py")
    git(tree, "add", "-A")
    assert "staged symbolic links, not followed: 1" in gate("--staged").evidence.notes


def test_staged_files_that_are_excluded_are_said(gate, tree):
    (tree / "keys.py").write_text(LEAK)
    git(tree, "add", "-A")
    verdict = gate("--staged", exclude=("keys.py",))
    assert verdict.outcome is Outcome.PASSED
    assert "files left out by security.secrets.exclude: 1" in verdict.evidence.notes


def test_the_history_has_what_the_tree_no_longer_has(gate, tree):
    (tree / "keys.py").write_text(LEAK)
    git(tree, "add", "-A")
    git(tree, "commit", "-q", "-m", "x")
    git(tree, "rm", "-q", "keys.py")
    git(tree, "commit", "-q", "-m", "y")
    assert gate().outcome is Outcome.PASSED
    verdict = gate("--history")
    assert [(f.path, f.rule) for f in verdict.findings] == [("keys.py", "AWS Access Key")]
    assert "in commit " in verdict.findings[0].message


def test_a_label_counts_for_the_history_too(gate, tree, baseline):
    (tree / "keys.py").write_text(LEAK)
    baseline(label=False)
    git(tree, "add", "-A")
    git(tree, "commit", "-q", "-m", "x")
    verdict = gate("--history")
    assert verdict.outcome is Outcome.PASSED
    assert verdict.evidence.looked_at == 4


def test_a_history_without_a_file_is_inconclusive(gate):
    assert gate("--history").outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("value", "wanted"), [("true", True), ("1", True), ("", False), ("0", False), ("false", False)]
)
def test_what_is_ci(value, wanted):
    assert in_ci({"CI": value}) is wanted
    assert not in_ci({})
