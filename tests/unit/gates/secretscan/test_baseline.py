from __future__ import annotations

import json

import pytest

from deploykit.gates.secretscan.baseline import Baseline, Entry, parse_baseline, read_baseline, refreshed
from deploykit.gates.secretscan.findings import Secret
from deploykit.model import InconclusiveError

OWN = "Netrc Password"
THEIRS = "Secret Keyword"


def written(results, **more):
    return json.dumps({"version": "1.5.0", "plugins_used": [{"name": "KeywordDetector"}], "results": results, **more})


def entry(hashed, **more):
    return {"type": THEIRS, "hashed_secret": hashed, "is_verified": False, **more}


def test_no_baseline_is_none(tmp_path):
    assert read_baseline(tmp_path / ".secrets.baseline") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"version": "1", "plugins_used": [], "results": {}}',
        '{"version": "1.5.0", "plugins_used": [{"name": "X"}], "results": []}',
        '{"version": "1.5.0", "plugins_used": [{"name": "X"}], "results": {"a.py": [{"type": "X"}]}}',
        '{"version": "1.5.0", "plugins_used": [{"nome": "X"}], "results": {}}',
        '{"version": "1.5.0", "plugins_used": [{"name": 3}], "results": {}}',
        '{"version": "0.14.3", "plugins_used": [{"name": "X"}], "results": {}}',
        "\udcff",
    ],
)
def test_a_baseline_that_can_not_be_read_is_inconclusive(tmp_path, text):
    path = tmp_path / ".secrets.baseline"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InconclusiveError, match="can't be read"):
        read_baseline(path)


def test_a_folder_in_its_place_is_inconclusive(tmp_path):
    with pytest.raises(InconclusiveError, match="can't be read"):
        read_baseline(tmp_path)


def test_lines_time_stamps_and_order_change_nothing():
    one = written({"b.py": [entry("2", line_number=9), entry("1", line_number=12)], "a.py": [entry("3")]})
    two = written(
        {"a.py": [entry("3", line_number=1)], "b.py": [entry("1"), entry("2")]}, generated_at="2024-01-01T00:00:00Z"
    )
    assert parse_baseline(one).render() == parse_baseline(two).render()
    assert "generated_at" not in parse_baseline(two).render()


def test_what_is_written_is_read_back_the_same():
    baseline = Baseline(entries={("a.py", THEIRS, "1"): Entry(is_secret=False), ("b", OWN, "2"): Entry()})
    assert parse_baseline(baseline.render()).entries == baseline.entries
    assert parse_baseline(baseline.render()).render() == baseline.render()


def test_filters_that_came_later_are_added_to_an_old_baseline():
    old = json.loads(written({}, filters_used=[])) | {"version": "1.0.3"}
    assert [item["path"].rpartition(".")[2] for item in parse_baseline(json.dumps(old)).filters] == [
        "is_lock_file",
        "is_not_alphanumeric_string",
        "is_swagger_file",
    ]


def test_a_refreshed_baseline_keeps_labels_drops_what_is_gone_and_adds_what_is_new():
    before = Baseline(
        entries={("a", THEIRS, "1"): Entry(is_secret=False), ("a", THEIRS, "gone"): Entry(is_secret=True)}
    )
    after = refreshed(before, {"a": (Secret(5, THEIRS, "1"), Secret(6, THEIRS, "2"))})
    assert after.entries == {("a", THEIRS, "1"): Entry(is_secret=False), ("a", THEIRS, "2"): Entry()}


def test_labels_of_own_rules_that_detect_secrets_dropped_come_back_from_the_last_commit():
    previous = Baseline(entries={("n", OWN, "1"): Entry(is_secret=False), ("a", THEIRS, "2"): Entry(is_secret=False)})
    found = {"n": (Secret(1, OWN, "1"),), "a": (Secret(1, THEIRS, "2"),)}
    after = refreshed(Baseline(), found, previous=previous)
    # An entry of its own that detect-secrets dropped was dropped on purpose.
    assert after.entries == {("n", OWN, "1"): Entry(is_secret=False), ("a", THEIRS, "2"): Entry()}


def test_a_label_is_set_for_one_entry_only():
    baseline = Baseline(entries={("a", THEIRS, "1"): Entry(), ("a", THEIRS, "2"): Entry()})
    labelled = baseline.with_label(("a", THEIRS, "1"), is_secret=True)
    assert [item.is_secret for item in labelled.entries.values()] == [True, None]
