"""Whatever keeps a gate from looking, it does not pass. Each case is a way in which a tool can fail to answer."""

from __future__ import annotations

import json

import pytest

from deploykit.gates.audit.gate import AuditGate
from deploykit.gates.coverage.gate import CoverageGate
from deploykit.gates.lint import LintGate
from deploykit.gates.migrations import MigrationsGate
from deploykit.gates.run import judge
from deploykit.gates.sast import SastGate
from deploykit.gates.test import TestGate
from deploykit.gates.typing import TypingGate
from deploykit.model import Outcome

GATES = {
    "lint": LintGate(import_contracts=True),
    "typing": TypingGate(paths=("app.py",)),
    "test": TestGate(),
    "coverage": CoverageGate(),
    "sast": SastGate(),
    "migrations": MigrationsGate(migrations="migrations"),
    "audit": AuditGate(locks=("requirements.txt",)),
}

WAYS = {
    "a crash": ("Traceback (most recent call last):\nValueError: no\n", 1),
    "an unknown exit code": ("", 77),
    "killed": ("", -9),
    "nothing said": ("", 0),
    "cut-off JSON": ('{"results": [', 0),
    "another program's JSON": ('{"hello": "world"}', 0),
    "an empty list": ("[]", 0),
    "an empty object": ("{}", 0),
    "words": ("All good!\n", 0),
    "a number": ("0\n", 0),
    "null": ("null\n", 0),
    "a list of nothing known": ('[{"hello": "world"}]\n', 0),
    "bytes of no encoding": ("\ufffd\x00\x01", 0),
    "an answer with a finding's exit code and nothing in it": ("", 1),
    "stopped": ("", -15),
    "out of memory": ("Killed\n", 137),
    "half an answer, then killed": ('{"version": "1", "files": {', -9),
}


@pytest.fixture(autouse=True)
def a_lock(tree):
    (tree / "requirements.txt").write_text("flask==3.0.0\n")


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("way", WAYS)
def test_a_tool_that_does_not_answer_is_never_a_pass(gate, way, context, toolbox):
    toolbox.says["*"] = WAYS[way]
    verdict = judge(gate, lambda: GATES[gate].run(context), tree=lambda: "f" * 40)
    assert verdict.outcome in {Outcome.INCONCLUSIVE, Outcome.FINDINGS, Outcome.USAGE}
    assert verdict.reason
    assert verdict.tree == "f" * 40


@pytest.mark.parametrize("gate", GATES)
def test_a_missing_tool_is_inconclusive_and_named(gate, context, toolbox):
    toolbox.missing = True
    verdict = judge(gate, lambda: GATES[gate].run(context), tree=str)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.next_step


@pytest.mark.parametrize("gate", ["lint", "typing", "sast", "audit"])
def test_a_tool_that_breaks_after_its_version_is_inconclusive_with_its_last_lines(gate, context, toolbox):
    toolbox.says = {"--version": ("tool 1.2.3\n", 0), "*": ("something broke\n", 70)}
    verdict = judge(gate, lambda: GATES[gate].run(context), tree=str)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "| something broke" in verdict.evidence.notes


@pytest.mark.parametrize("gate", ["lint", "sast"])
def test_a_tree_without_files_is_inconclusive(gate, context, toolbox, tree):
    for path in (tree / "app.py", tree / "tests" / "test_app.py", tree / "requirements.txt"):
        path.unlink()
    toolbox.says = {
        "--version": ("tool 1.2.3\n", 0),
        "--show-files": ("", 0),
        "check": ("[]", 0),
        "format": ("[]", 0),
        "--no-cache": ("Contracts: 1 kept, 0 broken.\n", 0),
        "*": ("{}", 0),
    }
    verdict = judge(gate, lambda: GATES[gate].run(context), tree=str)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "no" in verdict.reason


def outcome_of(gate, context):
    return judge(gate, lambda: GATES[gate].run(context), tree=lambda: "f" * 40)


RUFF = {"--version": ("ruff 0.17.6\n", 0), "--show-files": ("app.py\n", 0), "check": ("", 0)}
FATES = {"version": "1", "python": "3", "tests": [], "skips": [], "assert_skips": []}


def say(toolbox, files, **more):
    toolbox.says = {**RUFF, "*": (json.dumps({**FATES, "files": files, **more}), 0)}


@pytest.mark.parametrize(
    "fate",
    [
        {"fate": "error", "reason": "SyntaxError: no"},
        {"fate": "excluded"},
        {"fate": "unheard-of"},
        {"fate": ""},
        {},
    ],
)
def test_a_file_of_which_sast_knows_nothing_is_never_a_pass(fate, context, toolbox):
    say(toolbox, {"./app.py": fate})
    assert outcome_of("sast", context).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ('{"code": "S102"', "printed something else"),
        ('{"code": "S102"}\n', "printed something else"),
        ("null\n", "printed something else"),
    ],
)
def test_findings_that_can_not_be_read_are_never_a_pass(says, why, context, toolbox):
    say(toolbox, {"./app.py": {"fate": "left", "lines": 1}})
    toolbox.says["check"] = (says, 1)
    toolbox.says = {"check": toolbox.says["check"], **toolbox.says} | {"--show-files": ("app.py\n", 0)}
    verdict = outcome_of("sast", context)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert why in verdict.reason


def test_an_exit_code_that_the_findings_do_not_bear_out_is_never_a_pass(context, toolbox):
    say(toolbox, {"./app.py": {"fate": "left", "lines": 1}})
    toolbox.says["check"] = ("", 1)
    assert outcome_of("sast", context).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("text", ["[bandit\n", "skips = B101\n", "[other]\nskips = B101\n"])
def test_a_bandit_configuration_that_can_not_be_read_is_refused(text, context, toolbox, tree):
    (tree / ".bandit").write_text(text)
    say(toolbox, {"./app.py": {"fate": "left", "lines": 1}})
    assert outcome_of("sast", context).outcome is Outcome.USAGE


def test_a_bandit_configuration_with_a_baseline_is_for_bandit_to_honour(context, toolbox, tree):
    (tree / ".bandit").write_text("[bandit]\nbaseline = all.json\n")
    say(toolbox, {"./app.py": {"fate": "left", "lines": 1}})
    assert outcome_of("sast", context).outcome is Outcome.INCONCLUSIVE, "the script is no bandit"


@pytest.mark.parametrize("gate", ["sast", "secrets"])
def test_a_git_that_can_not_list_the_files_is_inconclusive(gate, context, toolbox, tree):
    (tree / ".git" / "HEAD").unlink()
    toolbox.says["*"] = ("{}", 0)
    verdict = outcome_of(gate, context)
    assert verdict.outcome is Outcome.INCONCLUSIVE


def test_a_tree_of_nothing_but_links_is_inconclusive(context, toolbox, tree):
    (tree / "app.py").unlink()
    (tree / "app.py").symlink_to("app.py")
    (tree / "more.py").symlink_to(tree / "tests" / "test_app.py")
    verdict = outcome_of("sast", context)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "symbolic links not followed: 2" in verdict.evidence.notes


def test_code_in_a_submodule_is_said_not_to_be_looked_into(context, toolbox, tree):
    import subprocess

    (tree / "app.py").unlink()
    subprocess.run(["git", "init", "-q", tree / "part"], check=True)
    (tree / "part" / "code.py").write_text("exec(input())\n")
    git = ["git", "-C", str(tree / "part"), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    subprocess.run(["git", "-C", tree, "add", "part"], check=True, capture_output=True)
    verdict = outcome_of("sast", context)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert any("submodules" in note for note in verdict.evidence.notes)


def test_everything_excluded_is_inconclusive(context, toolbox):
    verdict = judge("sast", lambda: SastGate(exclude=("*",)).run(context), tree=str)
    assert verdict.outcome is Outcome.INCONCLUSIVE


def test_migrations_of_another_tool_are_named_unless_the_settings_say_that_there_are_none(context, tree):
    (tree / "shop" / "migrations").mkdir(parents=True)
    (tree / "shop" / "migrations" / "0001_initial.py").write_text("from django.db import migrations\n")
    verdict = judge("migrations", lambda: MigrationsGate(decided=False).run(context), tree=str)
    assert verdict.outcome is Outcome.USAGE
    assert "Django's migrations are not run by the kit" in verdict.reason
    assert 'migrations = "" under [tool.deploykit.database]' in verdict.next_step
    verdict = judge("migrations", lambda: MigrationsGate().run(context), tree=str)
    assert verdict.outcome is Outcome.INCONCLUSIVE
