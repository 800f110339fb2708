"""The matrix of ways in which a gate looks at nothing or too little. Not one of them is green, and each says what to
do.

A way is a line of `WAYS`: what is wrong, the words in which the verdict says so, and a function that sets it up in a
real repository and gives the verdict of the gate. Tools that have to misbehave are scripts; git, the secrets engine
and the readers of coverage data are real. `test_never_green.py` has the ways in which a tool fails to answer, times
every gate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deploykit.gates.audit.gate import AuditGate
from deploykit.gates.coverage.gate import CoverageGate
from deploykit.gates.format import FormatGate
from deploykit.gates.image import ImageGate
from deploykit.gates.lint import LintGate
from deploykit.gates.sast import SastGate
from deploykit.gates.secrets import SecretsGate
from deploykit.gates.typing import TypingGate
from deploykit.gates.workflows import WorkflowsGate
from deploykit.model import Outcome, Verdict
from tests.unit.gates.staging import (
    HADOLINT,
    MYPY,
    RAN,
    RUFF,
    SKIP,
    TREE,
    WORKFLOW,
    ZIZMOR,
    Stage,
    audit,
    by_name,
    combined,
    huge,
    links,
    locked_folder,
    lying_pass,
    scripted,
    unreadable,
)

if TYPE_CHECKING:
    from collections.abc import Callable


FOREIGN = {".secrets.baseline": '{"version": "1.5.0", "plugins_used": [{"name": "Own"}], "results": {}}'}
FOREIGN_VERIFIED = (
    '{"version": "1.5.0", "plugins_used": [{"name": "AWSKeyDetector"}], "results": {}, "filters_used": [{"path": '
    '"detect_secrets.filters.common.is_ignored_due_to_verification_policies", "min_level": 3}]}'
)
ALL_LEFT_OUT = '{"version": "1.5.0", "secrets": {}, "filtered": [], "unread": {}}'
WAYS: dict[str, tuple[str, Callable[[Stage], Verdict]]] = {
    # Nothing selected.
    "lint: no Python file in the tree": (
        "ruff found no Python file to look at",
        lambda s: s.lint(__show_files=("pyproject.toml\n", 0)),
    ),
    "lint: ruff's lint.exclude leaves out every file": (
        "ruff found no Python file to look at",
        lambda s: s.lint(json=("[]", 0, "Checked 0 files in: 1ms")),
    ),
    "lint: ruff's format.exclude leaves out every file": (
        "ruff found no Python file to look at",
        lambda s: s.lint(format=("", 0)),
    ),
    "lint: not one rule is on": (
        "not one rule of ruff is on, so nothing could be found",
        lambda s: s.lint(__show_settings=("linter.rules.enabled = []\n", 0)),
    ),
    "lint: ruff no longer says how many files it checked": (
        "ruff did not say how many files it checked",
        lambda s: s.lint(json=("[]", 0, "Done")),
    ),
    "lint: contracts asked for, none configured": (
        "import contracts are asked for, and none is configured",
        lambda s: scripted(
            s, LintGate(import_contracts=True), {}, {**RUFF, "--no-cache": ("Contracts: 0 kept, 0 broken.\n", 0)}
        ),
    ),
    "format: no file": (
        "ruff format found no file to look at",
        lambda s: scripted(s, FormatGate(), {}, {**RUFF, "format": ("", 0)}),
    ),
    "typing: mypy counts no file": (
        "mypy says nothing about how many files it checked",
        lambda s: scripted(s, TypingGate(), {}, {**MYPY, "*": ("Success: no issues found in 0 source files\n", 0)}),
    ),
    "sast: every file excluded": ("there was no Python file to look at", lambda s: s.ask(SastGate(exclude=("*",)))),
    "sast: no Python file": (
        "there was no Python file to look at",
        lambda s: s.only({"readme.txt": "hello\n"}).ask(SastGate()),
    ),
    "secrets: every file excluded": ("there was no text file to look at", lambda s: s.ask(SecretsGate(exclude=("*",)))),
    "secrets: an empty tree": ("there was no text file to look at", lambda s: s.only({}).ask(SecretsGate())),
    "secrets: nothing is staged": (
        "there was no text file to look at",
        lambda s: s.ask(SecretsGate(), arguments=("--staged",)),
    ),
    "secrets: a history without a commit": (
        "the history has no text file",
        lambda s: s.without_commits().ask(SecretsGate(), arguments=("--history",)),
    ),
    "image: no Dockerfile": (
        "there is no Dockerfile in this tree, so the gate image has n",
        lambda s: s.ask(ImageGate()),
    ),
    "image: an empty Dockerfile": (
        "Dockerfile is empty, and hadolint finds nothing wrong with t",
        lambda s: scripted(s, ImageGate(), {"Dockerfile": "\n"}, {"*": ("[]", 0)}),
    ),
    "workflows: none in the tree": ("there is no workflow", lambda s: s.ask(WorkflowsGate())),
    # Too little looked at.
    "workflows: one of two not looked at": (
        "zizmor did not say that it looked at .github/workflows/b.yml",
        lambda s: scripted(
            s,
            WorkflowsGate(),
            {**WORKFLOW, ".github/workflows/b.yml": "on: push\n"},
            {**ZIZMOR, "*": ("[]", 0, "INFO audit: zizmor: completed .github/workflows/a.yml")},
        ),
    ),
    "workflows: one is no workflow": (
        "zizmor could not look at all the workflows",
        lambda s: scripted(s, WorkflowsGate(), WORKFLOW, {**ZIZMOR, "*": ("", 1, "failed to load a.yml as workflow")}),
    ),
    "image: hadolint fails and names nothing": (
        "hadolint answers that something is wrong and names nothing",
        lambda s: scripted(s, ImageGate(), {"Dockerfile": "FROM scratch\n"}, {**HADOLINT, "*": ("[]", 1)}),
    ),
    "image: hadolint goes on without its configuration": (
        "hadolint complained",
        lambda s: scripted(
            s, ImageGate(), {"Dockerfile": "FROM scratch\n"}, {**HADOLINT, "*": ("[]", 0, "Error parsing your config")}
        ),
    ),
    "image: hadolint speaks of another file": (
        "hadolint speaks of a file that it was not asked about: else",
        lambda s: scripted(
            s,
            ImageGate(),
            {"Dockerfile": "FROM scratch\n"},
            {**HADOLINT, "*": ('[{"code":"DL1","message":"m","file":"else","line":1,"level":"error"}]', 1)},
        ),
    ),
    "sast: links that go round in circles": ("there was no Python file to look at", lambda s: links(s, SastGate())),
    "secrets: links that go round in circles": ("there was no text file to look at", lambda s: links(s, SecretsGate())),
    "sast: code only in a submodule": (
        "there was no Python file to look at",
        lambda s: s.submodule().ask(SastGate(exclude=(".gitmodules",))),
    ),
    "secrets: only binary files": (
        "there was no text file to look at",
        lambda s: s.only({"a.bin": b"\0\1\2\xff\xfe"}).ask(SecretsGate()),
    ),
    "secrets: a file of more than 100 MB": ("1 files could not be read: dump.sql", huge),
    "secrets: a named file that is gone": ("1 files could not be read: app.py", unreadable),
    "sast: a file that can't be decoded": (
        "1 files could not be read or parsed",
        lambda s: s.only({"a.py": b"# coding: utf-8\nx = '\xff'\n"}).sast_error(),
    ),
    # Tests that did not run.
    "test: 0 tests collected": ("pytest collected no tests", lambda s: s.pytest(code=5)),
    "test: every test skipped": (
        "all 2 tests were skipped",
        lambda s: s.pytest(SKIP.format(1), SKIP.format(2), allowed=9),
    ),
    "test: a skip that is not allowed": (
        "1 tests were skipped, 0 are allowed",
        lambda s: s.pytest(RAN, SKIP.format(1)),
    ),
    "test: one skip more than allowed": (
        "2 tests were skipped, 1 are allowed",
        lambda s: s.pytest(RAN, SKIP.format(1), SKIP.format(2), allowed=1),
    ),
    "test: interrupted half-way": ("pytest was interrupted or crashed", lambda s: s.pytest(RAN, code=2)),
    "test: pytest's own fault": ("pytest was interrupted or crashed", lambda s: s.pytest(RAN, code=3)),
    "test: failures that nobody reports": (
        "pytest answers that tests failed and reports none",
        lambda s: s.pytest(RAN, code=1),
    ),
    # Coverage of something else.
    "coverage: the tests were not run": (
        "there is no coverage to judge: test was not run",
        lambda s: s.ask(CoverageGate()),
    ),
    "coverage: data of another tree": (
        "there is no coverage to judge: test looked at another state",
        lambda s: s.measured(tree="a" * 40).ask(CoverageGate()),
    ),
    "coverage: stale data under a newer verdict": (
        "there is no coverage to judge: the data are not those of the",
        lying_pass,
    ),
    "coverage: data of a run that was inconclusive": (
        "there is no coverage to judge: test ended with inconclusive",
        lambda s: s.measured(outcome=Outcome.INCONCLUSIVE).ask(CoverageGate()),
    ),
    "coverage: a file of data that is none": (
        "coverage combine gave no answer",
        lambda s: (
            s.measured().says(**{"--version": ("Coverage.py, version 7.6.0\n", 0), "*": ("", 1)}).ask(CoverageGate())
        ),
    ),
    "coverage: the base is not there": (
        "there is no origin/nowhere to compare with",
        lambda s: s.changed_since("origin/nowhere"),
    ),
    "coverage: a shallow clone": (
        "there is no HEAD~1 to compare with",
        lambda s: s.changed_since("HEAD~1", at=s.clone("--depth=1")),
    ),
    "coverage: outside git": (
        "the tree is not in git, so nobody knows what changed",
        lambda s: s.changed_since("", at=s.tmp),
    ),
    # Sources and baselines.
    "audit: every package skipped, as when the source says 404": (
        "1 packages were not looked up: flask",
        lambda s: audit(s, "flask==3.0.0\n", {"dependencies": [{"name": "flask", "skip_reason": "404"}], "fixes": []}),
    ),
    "audit: a package of the lock is not in the answer": (
        "1 packages were not looked up: flask",
        lambda s: audit(
            s, "flask==3.0.0\nrich==13.0.0\n", {"dependencies": [{"name": "rich", "version": "13.0.0", "vulns": []}]}
        ),
    ),
    "audit: the source can't be reached": (
        "pip-audit got no answer from its advisory source",
        lambda s: audit(s, "flask==3.0.0\n", "ConnectionError: refused", code=1),
    ),
    "audit: an empty lock": (
        "there was no package to look up",
        lambda s: audit(s, "", {"dependencies": [], "fixes": []}),
    ),
    "audit: the lock is not there": (
        "the lock nowhere.lock can't be read",
        lambda s: scripted(s, AuditGate(locks=("nowhere.lock",)), {}, {"--version": ("pip-audit 2.10.0\n", 0)}),
    ),
    "secrets: a baseline that is cut off": (
        "the baseline .secrets.baseline can't be read",
        lambda s: s.write({".secrets.baseline": '{"version": "1'}).ask(SecretsGate()),
    ),
    "secrets: a baseline without plug-ins": (
        "the baseline .secrets.baseline can't be read",
        lambda s: s.write({".secrets.baseline": '{"version": "1.5.0", "plugins_used": [], "results": {}}'}).ask(
            SecretsGate()
        ),
    ),
    "secrets: a plug-in that detect-secrets itself can't load": (
        "detect-secrets can't load what the baseline asks for: Own",
        lambda s: s.write(FOREIGN).says(**{"*": ('{"refused": "there is none"}', 0)}).ask(SecretsGate()),
    ),
    "secrets: detect-secrets leaves a file out": (
        "detect-secrets left 2 files out, such as app.py",
        lambda s: s.write(FOREIGN).says(**{"*": (ALL_LEFT_OUT, 0)}).ask(SecretsGate()),
    ),
    "secrets: the history by a plug-in that is unknown here": (
        "the baseline asks for plug-ins that are not known here: Own",
        lambda s: s.write(FOREIGN).ask(SecretsGate(), arguments=("--history",)),
    ),
    "secrets: a baseline that wants verified secrets only": (
        "the baseline asks for filters that are not known here: detect_secrets.filters.common.is_ignored",
        lambda s: s.write({".secrets.baseline": FOREIGN_VERIFIED}).ask(SecretsGate()),
    ),
    "secrets: a baseline that covers everything, audited by nobody": (
        "the baseline covers 1 secrets, and nobody has labelled any o",
        lambda s: s.baseline_of_all().ask(SecretsGate()),
    ),
    # Configuration, folder, tools.
    "sast: bandit's configuration is no configuration": (
        "the bandit configuration .bandit can't be read",
        lambda s: s.write({".bandit": "skips = B101\n"}).ask(SastGate()),
    ),
    "any: a configuration of the kit that can't be read": (
        "pyproject.toml is not valid TOML",
        lambda s: by_name(s, "lint", {"pyproject.toml": "[tool"}),
    ),
    "any: a setting that there is not": (
        "pyproject.toml has a mistake in [tool.deploykit]",
        lambda s: by_name(s, "sast", {"pyproject.toml": "[tool.deploykit]\nsats = 1\n"}),
    ),
    "any: git is broken here": (
        "git could not list the tree's files",
        lambda s: scripted(s, SastGate(), {".git/HEAD": "nonsense\n"}, {"*": ("{}", 0)}),
    ),
    "any: a folder that can't be listed": ("the folder locked/ can't be listed", locked_folder),
    "any: the tool is missing": (
        "the tool tool can't be started: there is no program '/tmp/py",
        lambda s: s.without_tools().ask(LintGate()),
    ),
    "any: the tool was killed": ("tool was killed by signal 9 and gave no answer", lambda s: s.lint(json=("[]", -9))),
    "any: the tool says half a word": ("tool", lambda s: s.lint(json=('[{"code": "F4', 1))),
    # Joined.
    "security: one of three was not run": ("secrets was not run", lambda _s: combined(sast=TREE, audit=TREE)),
    "security: one judged another tree": (
        "secrets judged another tree",
        lambda _s: combined(sast=TREE, audit=TREE, secrets="a" * 40),
    ),
}


@pytest.fixture
def stage(context, toolbox, tree, tmp_path):
    return Stage(context, toolbox, tree, tmp_path)


@pytest.mark.parametrize("way", WAYS)
def test_it_is_not_green(way, stage):
    why, set_up = WAYS[way]
    verdict = set_up(stage)
    assert verdict.outcome in {Outcome.INCONCLUSIVE, Outcome.USAGE}, verdict
    assert verdict.outcome.exit_code in {2, 3}
    assert why in verdict.reason
    assert verdict.next_step


def test_the_same_stage_is_green_when_nothing_is_wrong(stage):
    """Else the matrix would prove nothing: the ways could fail for a reason of their own."""
    assert stage.lint().outcome is Outcome.PASSED
    assert stage.ask(SecretsGate()).outcome is Outcome.PASSED
    assert stage.pytest(RAN).outcome is Outcome.PASSED
    assert stage.changed_since("HEAD").outcome is Outcome.PASSED
    assert combined(sast=TREE, audit=TREE, secrets=TREE).outcome is Outcome.PASSED
    fine = {"Dockerfile": "FROM scratch\n"}
    assert scripted(stage, ImageGate(), fine, {**HADOLINT, "*": ("[]", 0)}).outcome is Outcome.PASSED
    done = ("[]", 0, "INFO audit: zizmor: completed .github/workflows/a.yml")
    assert scripted(stage, WorkflowsGate(), WORKFLOW, {**ZIZMOR, "*": done}).outcome is Outcome.PASSED


def test_there_are_at_least_thirty_ways_over_every_gate():
    print("\n".join(WAYS))
    assert len(WAYS) >= 30, sorted(WAYS)
    assert {way.partition(":")[0] for way in WAYS} == {
        *("lint", "format", "typing", "test", "coverage", "sast", "audit", "secrets"),
        *("image", "workflows", "security", "any"),
    }
