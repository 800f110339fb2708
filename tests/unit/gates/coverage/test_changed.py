from __future__ import annotations

import subprocess

import pytest

from deploykit.gates.coverage.diff import Changes, changes_since, parse_diff
from deploykit.gates.coverage.figures import Share, as_markdown, changed_share, package_shares, ranges
from deploykit.gates.coverage.gate import interpret
from deploykit.model import InconclusiveError, Outcome, UsageError

OWNER = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]


def git(root, *words):
    subprocess.run(["git", "-C", str(root), *OWNER, *words], check=True, capture_output=True)


@pytest.fixture
def repo(tmp_path):
    """A branch that left main after one commit, with one more commit since on each."""
    root = tmp_path / "repo"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    (root / "a.py").write_text("one = 1\ntwo = 2\nthree = 3\n")
    (root / "gone.py").write_text("x = 1\n")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    git(root, "switch", "-qc", "branch")
    (root / "a.py").write_text("one = 1\ntwo = 20\nthree = 3\nfour = 4\n")
    (root / "gone.py").unlink()
    git(root, "add", "-A")
    git(root, "commit", "-qm", "second")
    git(root, "switch", "-q", "main")
    (root / "later.py").write_text("y = 1\n")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "later")
    git(root, "switch", "-q", "branch")
    return root


def test_changed_lines_are_those_since_the_branch_left_the_base(repo):
    changes = changes_since(repo)
    assert (changes.base, dict(changes.lines)) == ("main", {"a.py": frozenset({2, 4})})


def test_uncommitted_and_new_files_count(repo):
    (repo / "a.py").write_text("one = 10\ntwo = 20\nthree = 3\nfour = 4\n")
    (repo / "new file ü.py").write_text("a = 1\nb = 2\n")
    changes = changes_since(repo, "main")
    assert changes.lines["a.py"] == {1, 2, 4}
    assert {1, 2} <= changes.lines["new file ü.py"]


def test_a_tracked_file_with_an_odd_name_is_read_back(repo):
    (repo / 'a "b"\tü.py').write_text("a = 1\n")
    git(repo, "add", "-A")
    assert changes_since(repo).lines['a "b"\tü.py'] == {1}


def test_in_a_folder_of_the_repository_paths_are_relative_to_it(repo):
    (repo / "part").mkdir()
    (repo / "part" / "b.py").write_text("b = 1\n")
    git(repo, "add", "-A")
    assert set(changes_since(repo / "part").lines) == {"b.py"}


def test_lines_that_look_like_headers_are_only_lines():
    text = "--- a/x.py\n+++ b/x.py\n@@ -1 +1,2 @@\n--- no\n+++ b/y.py\n+@@ -1 +9 @@\n"
    assert parse_diff(text) == {"x.py": {1, 2}}


def test_a_user_configuration_of_git_changes_nothing(repo):
    git(repo, "config", "diff.mnemonicPrefix", "true")
    git(repo, "config", "diff.noprefix", "true")
    git(repo, "config", "color.ui", "always")
    assert set(changes_since(repo).lines) == {"a.py"}


def test_a_base_that_is_not_there_is_inconclusive_with_the_command_that_fetches_it(repo):
    with pytest.raises(InconclusiveError, match="origin/release") as caught:
        changes_since(repo, "origin/release")
    assert caught.value.next_step == "git fetch origin release"


def test_a_shallow_clone_is_inconclusive_with_the_command_that_deepens_it(repo, tmp_path):
    shallow = tmp_path / "shallow"
    url = repo.as_uri()
    subprocess.run(
        ["git", "clone", "-q", "--depth", "1", "--no-single-branch", "--branch", "branch", url, shallow],
        check=True, capture_output=True,
    )  # fmt: skip
    with pytest.raises(InconclusiveError, match="shallow") as caught:
        changes_since(shallow)
    assert caught.value.next_step == "git fetch --unshallow"


def test_a_shallow_clone_without_the_base_is_inconclusive_too(repo, tmp_path):
    shallow = tmp_path / "shallow"
    subprocess.run(
        ["git", "clone", "-q", "--depth", "1", "--branch", "branch", repo.as_uri(), shallow],
        check=True, capture_output=True,
    )  # fmt: skip
    with pytest.raises(InconclusiveError) as caught:
        changes_since(shallow)
    assert caught.value.next_step == "git fetch --unshallow"


def test_histories_with_nothing_in_common_are_inconclusive(repo):
    git(repo, "switch", "-q", "--orphan", "other")
    (repo / "a.py").write_text("z = 1\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "other")
    with pytest.raises(InconclusiveError, match="no commit in common"):
        changes_since(repo, "main")


def test_an_option_for_a_base_is_no_option(repo):
    with pytest.raises(InconclusiveError, match="--all"):
        changes_since(repo, "--all")


def test_outside_git_nobody_knows_what_changed(tmp_path):
    with pytest.raises(InconclusiveError, match="not in git"):
        changes_since(tmp_path)


def file(executed, missing):
    count = len(executed) + len(missing)
    return {
        "executed_lines": executed,
        "missing_lines": missing,
        "summary": {
            "num_statements": count,
            "covered_lines": len(executed),
            "missing_lines": len(missing),
            "percent_covered": 100 * len(executed) / count,
        },
    }


REPORT = {
    "meta": {},
    "files": {"src/shop/a.py": file([1, 2, 3], [4]), "src/shop/deep/b.py": file([1], [2, 3, 4])},
    "totals": {"num_statements": 8, "covered_lines": 4, "percent_covered": 50.0},
}


def changed(**lines) -> Changes:
    return Changes(base="main", commit="c" * 40, lines={k: frozenset(v) for k, v in lines.items()})


def test_only_changed_statements_are_counted():
    share, unmeasured = changed_share(
        REPORT,
        Changes(base="main", commit="", lines={"src/shop/a.py": frozenset({3, 4, 5}), "t.py": frozenset({1})}),
        wanted=80,
    )
    assert (share.covered, share.total, share.missing, unmeasured) == (1, 2, {"src/shop/a.py": (4,)}, ("t.py",))
    assert not share.is_enough
    assert [(f.path, f.line) for f in share.findings("coverage-changed")] == [("", 0), ("src/shop/a.py", 4)]


def test_too_few_changed_lines_covered_fail_although_the_total_is_enough():
    share, _ = changed_share(
        REPORT, Changes(base="main", commit="", lines={"src/shop/a.py": frozenset({4})}), wanted=80
    )
    verdict = interpret(REPORT, minimum=50, version="7", parts=[("coverage-changed", share)])
    assert verdict.outcome is Outcome.FINDINGS
    assert {finding.rule for finding in verdict.findings} == {"coverage-changed"}
    assert "statements changed since main: 0.00 %" in verdict.reason


def test_a_change_without_statements_is_enough_and_says_so():
    share, _ = changed_share(REPORT, changed(), wanted=80)
    verdict = interpret(REPORT, minimum=50, version="7", parts=[("coverage-changed", share)])
    assert verdict.outcome is Outcome.PASSED
    assert "statements changed since main: none" in verdict.reason


def test_packages_have_minimums_of_their_own():
    good, bad = package_shares(REPORT, {"shop": 50, "shop.deep": 30})
    assert (good.covered, good.total, good.is_enough) == (4, 8, True)
    assert (bad.percent, bad.is_enough) == (25.0, False)
    assert package_shares(REPORT, {"src/shop/deep": 20})[0].is_enough


def test_a_package_that_nobody_measured_is_a_usage_error():
    with pytest.raises(UsageError, match="shopp"):
        package_shares(REPORT, {"shopp": 50})


def test_the_page_for_a_pull_request_names_what_never_ran():
    share, _ = changed_share(
        REPORT, Changes(base="main", commit="", lines={"src/shop/deep/b.py": frozenset({2, 3})}), wanted=80
    )
    page = as_markdown([Share(what="total", covered=4, total=8, wanted=50, missing={}), share])
    assert "| total | 50.00 % | 8 | 50 % |  |" in page
    assert "| statements changed since main | 0.00 % | 2 | 80 % | **too little** |" in page
    assert "- `src/shop/deep/b.py`: 2-3" in page


def test_a_share_is_never_rounded_up():
    assert Share(what="x", covered=79_999, total=100_000, wanted=80, missing={}).shown == "79.99 %"


def test_ranges_are_short():
    assert ranges([1, 2, 3, 7, 9, 10]) == "1-3, 7, 9-10"
