"""An attacker, or a mistake, at `git commit`: what is committed is judged, whatever lies beside it in the tree."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deploykit.gates.secretscan.baseline import Baseline, Entry, refreshed
from deploykit.gates.secretscan.scan import scan_contents

KEY = "AKIA" + "J5T2WQ8NZX4LMB7R"
LEAK = f"AWS_ACCESS_KEY_ID={KEY}\n"
BAD = "import os\n"
UNSAFE = "exec(input())\n"
IGNORING = '[project]\nname = "shop"\nversion = "1"\n\n[tool.deploykit.security{}]\n{}\n'


def forgiving(name: str, content: str) -> str:
    """A baseline by which what is in that file is no secret."""
    known = refreshed(Baseline(), scan_contents([(name, content.encode())], Baseline().rules()).secrets)
    return replace(known, entries={key: Entry(is_secret=False) for key in known.entries}).render()


@pytest.fixture
def commit(shop, monkeypatch):
    """`git commit` with a hook that gives one gate the names of the staged files."""
    program = Path(sys.executable).with_name("deploykit-hook")
    shop.commit()
    owner = {f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", *words], cwd=shop.root, env=shop.environment | owner, capture_output=True, text=True, check=False
        )

    def run(gate: str, *words: str, staged: dict[str, str | bytes], given: str = "", app: str = "") -> tuple[int, str]:
        shop.write(staged)
        names = given or "$(git diff --cached --name-only --diff-filter=d)"
        hook = shop.root / ".git" / "hooks" / "pre-commit"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f'#!/bin/sh\ncd "./{app}"\n"{program}" {gate} {names}\necho "answer $?"\nexit 1\n')
        hook.chmod(0o755)
        before = git("rev-parse", "HEAD").stdout
        git("add", "--force", *(f"./{name}" for name in staged))
        done = git("commit", "-m", "more", *words)
        assert git("rev-parse", "HEAD").stdout == before
        said = done.stdout + done.stderr
        return int(said.rpartition("answer ")[2]), said

    run.git = git
    return run


def test_a_baseline_that_is_not_committed_excuses_no_secret(commit, shop):
    shop.write({".secrets.baseline": forgiving(".env", LEAK)})
    assert commit("secrets", staged={".env": LEAK})[0] == 1


def test_a_changed_baseline_excuses_a_secret_only_where_it_is_staged_too(commit, shop):
    shop.write({".secrets.baseline": forgiving(".env", "")})
    shop.commit()
    shop.write({".secrets.baseline": forgiving(".env", LEAK)})
    # pre-commit puts unstaged changes aside; of a file with this mark it does not know.
    commit.git("update-index", "--skip-worktree", ".secrets.baseline")
    assert commit("secrets", staged={".env": LEAK})[0] == 1
    commit.git("update-index", "--no-skip-worktree", ".secrets.baseline")
    assert commit("secrets", staged={".secrets.baseline": forgiving(".env", LEAK)})[0] == 0


def test_the_baseline_and_settings_of_the_index_hold_for_staged_too(commit, shop):
    shop.write({".secrets.baseline": forgiving(".env", LEAK)})
    shop.write({"pyproject.toml": IGNORING.format(".secrets", 'exclude = [".env"]')})
    assert commit("secrets", staged={".env": LEAK}, given="--staged")[0] == 1


@pytest.mark.parametrize(
    "content",
    [
        LEAK.encode() + b"\0\xff",
        b"\xff\xfe" + LEAK.encode(),
        b"\xfe\xff" + LEAK.encode(),
        "plain words\n".encode("utf-16") * 900 + LEAK.encode(),
        b"version https://git-lfs.github.com/spec/v1\n" + LEAK.encode(),
    ],
    ids=["zeros", "mark of UTF-16", "other mark", "UTF-16 before", "like a pointer of LFS"],
)
def test_bytes_that_make_a_file_look_like_no_text_hide_no_secret_in_it(commit, content):
    code, said = commit("secrets", staged={".env": content})
    assert code == 1, said
    assert "AWS Access Key" in said


def test_what_is_staged_is_judged_and_not_what_the_tree_has_by_now(commit, shop):
    shop.write({"a.cfg": LEAK})
    commit.git("add", "a.cfg")
    shop.write({"a.cfg": "nothing\n"})
    assert commit("secrets", staged={})[0] == 1
    shop.write({"a.cfg": LEAK})
    assert commit("secrets", staged={"b.cfg": "nothing\n"}, given="b.cfg")[0] == 0


@pytest.mark.parametrize(
    ("gate", "code", "beside"),
    [
        ("secrets", {".env": LEAK}, {"pyproject.toml": IGNORING.format(".secrets", 'exclude = [".env"]')}),
        ("lint", {"shop/more.py": BAD}, {"ruff.toml": 'lint.select = ["E9"]\nformat.exclude = ["*"]\n'}),
        ("lint", {"shop/more.py": BAD}, {"shop/.ruff.toml": 'lint.select = ["E9"]\n'}),
        ("sast", {"shop/more.py": UNSAFE}, {"pyproject.toml": IGNORING.format("", 'sast_exclude = ["shop"]')}),
        ("sast", {"shop/more.py": UNSAFE}, {".bandit": "[bandit]\nexclude = shop\nskips = B102\n"}),
        ("image", {"Dockerfile": "FROM debian\n"}, {".hadolint.yaml": "ignored: [DL3006]\n"}),
        (
            "workflows",
            {".github/workflows/a.yml": "on: pull_request_target\njobs: {}\n"},
            {".github/zizmor.yml": "rules: {dangerous-triggers: {disable: true}}\n"},
        ),
    ],
    ids=["secrets", "lint", "lint below", "sast settings", "bandit", "hadolint", "zizmor"],
)
def test_configuration_that_is_not_committed_hides_nothing(commit, shop, gate, code, beside):
    shop.write(beside)
    answer, said = commit(gate, staged=code)
    assert answer == 1, said


def test_a_gate_over_everything_that_is_staged_does_not_see_the_tree_either(commit, shop):
    shop.write({"shop/more.py": BAD})
    commit.git("add", "shop/more.py")
    shop.write({"shop/more.py": "VALUE = 1\n"})
    assert commit("lint", staged={}, given="--staged")[0] == 1


@pytest.mark.parametrize("gate", ["sast", "lint", "secrets"])
def test_a_named_file_that_is_not_there_is_a_usage_error(commit, gate):
    answer, said = commit(gate, staged={"shop/more.py": "VALUE = 1\n"}, given="nowhere.py")
    assert answer == 3
    assert "nowhere.py is not staged" in said


def test_a_file_in_the_tree_that_no_commit_has_is_a_usage_error(commit, shop):
    shop.write({"shop/beside.py": "VALUE = 1\n"})
    answer, said = commit("lint", staged={"a.txt": "words\n"}, given="shop/beside.py")
    assert (answer, "git add shop/beside.py" in said) == (3, True)


@pytest.mark.parametrize("name", ["--history", "--config=evil.toml", "-x.py"])
def test_a_file_name_is_never_an_option(commit, name):
    answer, said = commit("secrets", staged={name: LEAK})
    assert (answer, "begins as an option" in said) == (3, True)


@pytest.mark.parametrize("words", [["-a"], ["--", "shop/__init__.py"]], ids=["-a", "one file"])
def test_an_index_that_git_makes_for_one_commit_is_the_one_that_is_judged(commit, shop, words):
    shop.write({"shop/__init__.py": BAD})
    assert commit("lint", *words, staged={})[0] == 1


def test_an_app_in_a_folder_of_its_repository_is_judged(commit):
    files = {"apps/one/pyproject.toml": IGNORING.format("", ""), "apps/one/.env": LEAK}
    code, said = commit("secrets", staged=files, given=".env", app="apps/one")
    assert (code, "AWS Access Key" in said) == (1, True), said


def test_a_commit_in_another_working_tree_of_the_repository_is_judged(commit, shop, tmp_path):
    other = tmp_path / "other"
    assert commit.git("worktree", "add", "-q", "-b", "other", str(other)).returncode == 0
    commit("lint", staged={})
    (other / "shop" / "more.py").write_text(BAD)
    commit.git("-C", str(other), "add", "-A")
    done = commit.git("-C", str(other), "commit", "-m", "more")
    assert "answer 1" in done.stdout + done.stderr
