"""Git's history is looked at once, and whole."""

from __future__ import annotations

import json
import subprocess

import pytest

from deploykit.gates.secretscan.git import contents, staged_changes, text_of
from deploykit.gates.secretscan.history import scan_history
from deploykit.gates.secretscan.rules import default_rules
from deploykit.model import InconclusiveError

RULES = default_rules()
LEAK = 'key = "' + "AKIA" + 'J5T2WQ8NZX4LMB7R"\n'


@pytest.fixture
def history(repo, tmp_path):
    def look():
        return scan_history(repo.root, RULES, state=tmp_path / "cache" / "state.json")

    return look


def test_a_secret_that_was_taken_out_again_is_still_there(repo, history):
    leaked = repo.commit("a.py", LEAK)
    repo.commit("a.py", "clean\n")
    report = history()
    assert [(past.path, past.secret.line, past.commit) for past in report.found] == [("a.py", 1, leaked)]
    assert (report.commits, report.versions, report.fresh) == (2, 2, 2)


def test_the_next_look_is_at_new_commits_only_and_forgets_nothing(repo, history):
    repo.commit("a.py", LEAK)
    first = history()
    again = history()
    assert (again.fresh, again.found) == (0, first.found)
    repo.commit("b.py", LEAK)
    third = history()
    assert (third.fresh, {past.path for past in third.found}) == (1, {"a.py", "b.py"})


def test_every_branch_and_tag_is_looked_at(repo, history):
    repo.commit("a.py", "clean\n")
    repo.git("checkout", "-q", "-b", "side")
    repo.commit("b.py", LEAK)
    repo.git("checkout", "-q", "main")
    repo.git("tag", "kept", "side")
    repo.git("branch", "-D", "side")
    assert [past.path for past in history().found] == ["b.py"]


def test_a_secret_that_a_merge_brought_in_is_found(repo, history):
    repo.commit("a.py", "one\n")
    repo.git("checkout", "-q", "-b", "side")
    repo.commit("b.py", "two\n")
    repo.git("checkout", "-q", "main")
    repo.commit("c.py", "three\n")
    repo.git("merge", "-q", "--no-commit", "side")
    repo.commit("evil.py", LEAK)
    assert [past.path for past in history().found] == ["evil.py"]


def test_what_no_ref_reaches_any_more_is_forgotten(repo, history):
    repo.commit("a.py", "clean\n")
    repo.commit("b.py", LEAK)
    assert history().found
    repo.git("reset", "-q", "--hard", "HEAD~1")
    assert not history().found


def test_other_rules_look_at_everything_again(repo, history, tmp_path):
    repo.commit("a.py", LEAK)
    history()
    other = scan_history(repo.root, default_rules(formats=False), state=tmp_path / "cache" / "state.json")
    assert other.fresh == 1


@pytest.mark.parametrize("broken", ["", "{", "[]", "{}"])
def test_a_broken_state_file_is_looked_past(repo, history, tmp_path, broken):
    repo.commit("a.py", LEAK)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "state.json").write_text(broken)
    assert history().found


def test_the_state_file_holds_no_secret(repo, history, tmp_path):
    repo.commit("a.py", LEAK)
    history()
    assert "J5T2WQ" not in (tmp_path / "cache" / "state.json").read_text()


def test_a_shallow_clone_is_inconclusive(repo, tmp_path):
    repo.commit("a.py", LEAK)
    repo.commit("a.py", "clean\n")
    subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{repo.root}", tmp_path / "shallow"], check=True)
    with pytest.raises(InconclusiveError, match="shallow"):
        scan_history(tmp_path / "shallow", RULES, state=tmp_path / "state.json")


def test_versions_that_a_partial_clone_does_not_have_are_counted_and_asked_for_again(repo, tmp_path):
    repo.git("config", "uploadpack.allowFilter", "true")
    repo.commit("a.py", LEAK)
    repo.commit("a.py", "clean\n")
    clone = tmp_path / "partial"
    subprocess.run(["git", "clone", "-q", "--filter=blob:none", f"file://{repo.root}", clone], check=True)
    first = scan_history(clone, RULES, state=tmp_path / "state.json")
    assert first.missing == ("a.py",)
    assert not first.found
    again = scan_history(clone, RULES, state=tmp_path / "state.json")
    assert again.missing == ("a.py",)


def test_a_repository_without_a_commit_has_no_versions(repo, history):
    assert history().versions == 0


def test_what_is_no_repository_is_inconclusive(tmp_path):
    with pytest.raises(InconclusiveError, match="git"):
        scan_history(tmp_path, RULES, state=tmp_path / "state.json")


def test_binary_and_filtered_versions_are_counted(repo, history):
    repo.write("b.bin2", b"\0\xff")
    repo.write("c.css", LEAK)
    repo.commit("a.py", "clean\n")
    report = history()
    assert (report.versions, report.binary, report.filtered) == (3, 1, 1)


def test_paths_with_strange_letters_are_looked_at(repo, history):
    repo.commit("söme földer/a\tb\n.py", LEAK)
    assert [past.path for past in history().found] == ["söme földer/a\tb\n.py"]


def test_staged_changes_are_what_the_index_has(repo):
    repo.write("gone.py", "x\n")
    repo.commit("a.py", "clean\n")
    repo.write("a.py", LEAK)
    repo.git("add", "a.py")
    repo.write("a.py", "clean again\n")
    repo.git("rm", "-q", "gone.py")
    (repo.root / "link").symlink_to("a.py")
    repo.git("add", "link")
    changes = {change.path: change for change in staged_changes(repo.root)}
    assert {path: change.kind for path, change in changes.items()} == {
        "a.py": "file",
        "gone.py": "deleted",
        "link": "link",
    }
    assert dict(contents(repo.root, [changes["a.py"].blob])) == {changes["a.py"].blob: LEAK.encode()}


def test_a_blob_that_is_not_there_is_none(repo):
    assert dict(contents(repo.root, ["0" * 40])) == {"0" * 40: None}


def test_the_text_of_a_file_as_committed(repo):
    assert text_of(repo.root, "a.py") is None
    repo.commit("a.py", "one\n")
    repo.write("a.py", "two\n")
    assert text_of(repo.root, "a.py") == "one\n"


def test_the_state_says_which_rules_looked(repo, history, tmp_path):
    repo.commit("a.py", LEAK)
    history()
    assert json.loads((tmp_path / "cache" / "state.json").read_text())["settings"]
