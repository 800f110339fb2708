"""`invoke ci` as a whole command, on a small repository that it is not the kit's."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploykit.artifacts.git import tree_of
from deploykit.gates.catalog import build_gate
from deploykit.gates.inputs import inputs_of, state_of
from deploykit.gates.run import cached_verdicts
from deploykit.gates.verdict_cache import record_inputs
from deploykit.gates.verdict_files import read_verdict, record_verdict
from deploykit.model import Evidence, Finding, Outcome, Verdict
from deploykit.settings.loader import load
from deploykit.tasks.ci import GATES, gates_of
from deploykit.tasks.ci_board import board, summary
from deploykit.tasks.ci_progress import Progress

PASSED = Evidence(looked_at=3, unit="files", tool="t", tool_version="1", seconds=4.5)


def passed(gate, tree, **settings):
    evidence = Evidence(looked_at=3, unit="files", tool="t", tool_version="1", seconds=4.5, settings=settings)
    return Verdict(gate=gate, outcome=Outcome.PASSED, evidence=evidence, tree=tree)


@pytest.fixture
def repo(tmp_path):
    root = tmp_path / "repo"
    root.mkdir()
    (root / "pyproject.toml").write_text('[tool.deploykit]\napp = "shop"\n')
    git = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "init", "-q", root], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)
    return root


@pytest.fixture
def environment(tmp_path, monkeypatch):
    monkeypatch.setenv("DEPLOYKIT_STATE_DIR", str(tmp_path / "state"))
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    # No index to install from: a gate that is run for real can't get its tools, and says so.
    own = {"DEPLOYKIT_STATE_DIR": str(tmp_path / "state"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    return kept | own | {"UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "uv")}


def ci(root, environment, *words):
    argv = [sys.executable, "-P", "-c", "from deploykit.tasks.program import main; main()", "ci", *words]
    return subprocess.run(argv, check=False, cwd=root, env=environment, capture_output=True, text=True, timeout=100)


def cache_all(root, environment):
    """Record a pass of every gate as a run of it would have."""
    settings, tree = load(root, environ=environment).settings, tree_of(root)
    for name in GATES:
        verdict = passed(name, tree, **({"good_until": 4e9} if name == "audit" else {}))
        record_verdict(root, verdict)
        state = state_of(root, tree=tree, environment=environment)
        inputs = inputs_of(build_gate(name, settings, root), root, settings, state=state, environment=environment)
        record_inputs(root, verdict, inputs, now=1_000_000.0)


def test_an_unchanged_tree_is_answered_from_the_record_alone(repo, environment):
    cache_all(repo, environment)
    done = ci(repo, environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("not run again") == len(GATES)
    assert "nothing was run again" in done.stdout
    assert not (Path(environment["XDG_CACHE_HOME"]) / "deploykit" / "tools").exists()
    security = read_verdict(repo, "security")
    assert security is not None
    assert (security.outcome, security.tree) == (Outcome.PASSED, tree_of(repo))


def test_json_is_one_object_and_says_what_was_not_run(repo, environment):
    cache_all(repo, environment)
    done = ci(repo, environment, "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["outcome"]) == (0, "passed")
    assert answer["not_run_again"] == sorted(GATES)
    assert [verdict["gate"] for verdict in answer["verdicts"]] == list(GATES)


def test_a_gate_that_is_run_and_misses_its_tool_is_never_green(repo, environment):
    cache_all(repo, environment)
    done = ci(repo, environment, "--json", "--force")
    answer = json.loads(done.stdout)
    assert answer["not_run_again"] == []
    outcomes = {verdict["gate"]: verdict["outcome"] for verdict in answer["verdicts"]}
    assert outcomes["lint"] == outcomes["test"] == outcomes["coverage"] == "inconclusive"
    assert done.returncode in {1, 2}


def cached_gates(repo, environment):
    return set(cached_verdicts(GATES, repo, tree=tree_of(repo), environment=environment))


def test_nothing_is_cached_for_a_changed_tree(repo, environment):
    cache_all(repo, environment)
    assert cached_gates(repo, environment) == set(GATES)
    (repo / "new.py").write_text("VALUE = 1\n")
    assert cached_gates(repo, environment) == set()


def test_coverage_is_not_cached_without_the_tests(repo, environment):
    cache_all(repo, environment)
    (repo / ".deploykit/inputs/test.json").unlink()
    assert cached_gates(repo, environment) == set(GATES) - {"test", "coverage"}


def test_the_table_at_the_end_has_times_outcomes_and_reasons():
    finding = Verdict(
        gate="lint",
        outcome=Outcome.FINDINGS,
        evidence=PASSED,
        findings=(Finding(rule="F401", message="unused"),),
        reason="1 finding",
    )
    progress = Progress(verdicts={"lint": finding, "test": passed("test", "a")})
    lines = summary(("lint", "test"), progress, Outcome.FINDINGS, reason="", seconds=5.0, stream=io.StringIO())
    assert [line.split() for line in lines[1:3]] == [
        ["lint", "findings", "4.5", "s", "1", "finding"],
        ["test", "passed", "4.5", "s"],
    ]
    assert lines[-1] == "ci: FINDINGS in 5.0 s"


def test_in_a_pipe_each_gate_that_ends_is_a_line_said_once():
    stream, progress = io.StringIO(), Progress(verdicts={"lint": passed("lint", "a")}, cached=frozenset({"lint"}))
    with board(("lint", "test"), progress, stream=stream) as redraw:
        redraw()
        progress.verdicts["test"] = passed("test", "a")
        redraw()
        redraw()
    assert stream.getvalue() == "test: passed (4.5 s)\n"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_there_is_a_board(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    stream, progress = Terminal(), Progress()
    with board(("lint", "test"), progress, stream=stream) as redraw:
        progress.started["lint"] = 0.0
        redraw()
    assert "running" in stream.getvalue()
    assert "waiting" in stream.getvalue()


def branch_off(repo):
    git = ["git", "-C", str(repo), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "branch", "-f", "base"], check=True)
    (repo / "notes.md").write_text("Hello.\n")


def test_affected_asks_only_what_the_change_reaches_and_says_what_it_left_out(repo, environment):
    branch_off(repo)
    cache_all(repo, environment)
    done = ci(repo, environment, "--affected", "base", "--json")
    answer = json.loads(done.stdout)
    assert [verdict["gate"] for verdict in answer["verdicts"]] == ["lint", "secrets"]
    assert set(answer["not_asked"]) == {"typing", "test", "coverage", "sast", "audit"}
    assert "only prose changed (notes.md)" in answer["not_asked"]["sast"]
    assert "not asked: sast: only prose changed" in done.stderr
    assert read_verdict(repo, "security") is None, "a narrowed run is no evidence for a release"


def test_a_base_that_is_not_there_is_inconclusive_with_the_command_that_fetches_it(repo, environment):
    done = ci(repo, environment, "--affected", "origin/main")
    assert done.returncode == 2
    assert "git fetch origin main" in done.stdout + done.stderr


def test_a_tree_with_a_dockerfile_and_a_workflow_has_two_gates_more(repo):
    assert gates_of(repo) == GATES
    (repo / "Dockerfile").write_text("FROM scratch\n")
    (repo / ".github/workflows").mkdir(parents=True)
    (repo / ".github/workflows/a.yml").write_text("on: push\n")
    assert gates_of(repo) == (*GATES, "image", "workflows")


def test_a_tree_with_migrations_of_another_tool_has_the_gate_that_refuses_them(repo):
    (repo / "yoyo.ini").write_text("[DEFAULT]\n")
    assert gates_of(repo) == (*GATES, "migrations")
