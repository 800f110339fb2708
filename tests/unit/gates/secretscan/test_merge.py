"""A baseline with two sides of a merge: the labels of both are kept."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from deploykit.gates.secretscan.baseline import Baseline, Entry, read_baseline
from deploykit.gates.secretscan.merge import merge_conflict, merged
from deploykit.model import InconclusiveError

NAME = ".secrets.baseline"
KEYS = {letter: (f"{letter}.py", "Secret Keyword", letter * 40) for letter in "abcd"}


def of(**labels):
    return Baseline(entries={KEYS[letter]: Entry(is_secret=label) for letter, label in labels.items()})


def labels(baseline):
    return {path[0]: entry.is_secret for (path, _, _), entry in baseline.entries.items()}


class Repository:
    def __init__(self, root):
        self.root = root
        root.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *words, check=True):
        owner = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "merge.conflictStyle=diff3"]
        return subprocess.run(["git", "-C", self.root, *owner, *words], check=check, capture_output=True, text=True)

    def commit(self, text):
        (self.root / NAME).write_text(text)
        self.git("add", "-A")
        self.git("commit", "-qm", "state")

    def conflict(self, base, ours, theirs):
        """A merge that git can't make: theirs is as detect-secrets writes it, with line numbers."""
        self.commit(base.render())
        self.git("switch", "-qc", "theirs")
        self.commit(theirs.render().replace('"is_verified": false', '"is_verified": false,\n        "line_number": 3'))
        self.git("switch", "-q", "main")
        self.commit(ours.render())
        assert self.git("merge", "theirs", check=False).returncode == 1
        return self


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "repo")


def test_both_sides_keep_their_labels(repository):
    repository.conflict(of(a=None, b=None), of(a=False, b=None, c=True), of(a=None, b=False, d=None))
    found = merge_conflict(repository.root, NAME)
    assert labels(found.baseline) == {"a": False, "b": False, "c": True, "d": None}
    assert found.disputed == ()


def test_marks_that_were_committed_are_two_sides_too(repository):
    repository.conflict(of(a=None), of(a=False), of(a=None, b=True))
    repository.git("add", "-A")
    repository.git("commit", "-qm", "with its marks")
    assert labels(merge_conflict(repository.root, NAME).baseline) == {"a": False, "b": True}


def test_labels_that_contradict_each_other_are_none_and_named():
    found = merged(of(a=True, b=False), of(a=False, b=False))
    assert labels(found.baseline) == {"a": None, "b": False}
    assert found.disputed == (KEYS["a"],)


def test_of_settings_that_differ_those_are_taken_that_find_more():
    ours = Baseline(plugins=({"name": "One", "limit": 1},), filters=({"path": "x"}, {"path": "y"}))
    theirs = Baseline(plugins=({"name": "Two"}, {"name": "One", "limit": 2}), filters=({"path": "y"}, {"path": "z"}))
    found = merged(ours, theirs).baseline
    assert found.plugins == ({"name": "One", "limit": 1}, {"name": "Two"})
    assert found.filters == ({"path": "y"},)


def test_without_a_conflict_there_is_nothing_to_merge(repository):
    assert merge_conflict(repository.root, NAME) is None
    repository.commit(of(a=False).render())
    assert merge_conflict(repository.root, NAME) is None


def test_a_side_that_is_no_baseline_is_inconclusive_and_the_file_stays(repository):
    text = "<<<<<<< ours\n{\n=======\n{}\n>>>>>>> theirs\n"
    repository.commit(text)
    with pytest.raises(InconclusiveError, match="one of them is no baseline") as caught:
        merge_conflict(repository.root, NAME)
    assert NAME in caught.value.next_step
    assert (repository.root / NAME).read_text() == text


def test_the_gate_advises_the_merge_and_the_command_does_it(repository):
    lines = {"a.py": 'password = "larch-tree"\n', "b.py": 'password = "birch-tree"\n'}  # pragma: allowlist secret
    for name, text in lines.items():
        (repository.root / name).write_text(text)
    command = [sys.executable, "-P", "-c", "from deploykit.tasks.program import main; main()", "secrets.baseline"]

    def run():
        return subprocess.run(command, cwd=repository.root, check=True, capture_output=True, text=True).stdout

    run()
    base = read_baseline(repository.root / NAME)
    first, second = sorted(base.entries)
    repository.conflict(base, base.with_label(first, is_secret=False), base.with_label(second, is_secret=False))
    with pytest.raises(InconclusiveError, match="two sides of a merge") as caught:
        read_baseline(repository.root / NAME)
    assert caught.value.next_step.startswith("invoke secrets.baseline")
    assert "merged: the entries and labels of both sides; git add .secrets.baseline" in run()
    assert labels(read_baseline(repository.root / NAME)) == {"a": False, "b": False}
    assert "version" in json.loads((repository.root / NAME).read_text())


def test_no_advice_loses_the_labels(tmp_path):
    (tmp_path / NAME).write_text("{")
    with pytest.raises(InconclusiveError) as caught:
        read_baseline(tmp_path / NAME)
    assert "delete" not in caught.value.next_step
