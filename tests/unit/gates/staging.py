"""What the ways of `test_fail_closed.py` are set up with: a repository of one commit, and tools that misbehave."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING
from unittest import mock

from deploykit.gates.audit.gate import AuditGate
from deploykit.gates.combined_verdict import combine
from deploykit.gates.coverage.diff import changes_since
from deploykit.gates.coverage.gate import CoverageGate
from deploykit.gates.lint import LintGate
from deploykit.gates.run import judge, run_gate
from deploykit.gates.sast import SastGate
from deploykit.gates.secrets import SecretsGate
from deploykit.gates.secretscan.baseline import Baseline, refreshed
from deploykit.gates.secretscan.scan import scan_files
from deploykit.gates.test import TestGate, data_fingerprint
from deploykit.gates.verdict_files import record_verdict
from deploykit.model import Evidence, Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deploykit.gates.interface import Gate, GateContext

TREE = "f" * 40
LEAK = 'key = "AKIA' + 'J5T2WQ8NZX4LMB7R"\n'
RUFF = {
    "--version": ("ruff 0.17.6\n", 0),
    "--show-files": ("app.py\n", 0),
    "--show-settings": ("linter.rules.enabled = [\n", 0),
    "json": ("[]", 0, "Checked 1 files in: 1ms"),
    "format": ("1 file already formatted\n", 0),
}
SKIP = '<testcase classname="t" name="{0}"><skipped type="pytest.skip" message="no database" /></testcase>'
RAN = '<testcase classname="t" name="good" />'


class Stage:
    """A repository of one commit, the gate's context in it, and short words for what the ways set up."""

    def __init__(self, context: GateContext, toolbox, tree: Path, tmp_path: Path) -> None:
        environment = {**context.environment, "XDG_CACHE_HOME": str(tmp_path / "cache"), "CI": ""}
        self.context = replace(context, environment=environment)
        self.toolbox, self.tree, self.tmp = toolbox, tree, tmp_path
        self.git("add", "-A")
        self.git("commit", "-qm", "one")

    def git(self, *words: str, at: Path | None = None) -> None:
        owner = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always"]
        subprocess.run(["git", "-C", str(at or self.tree), *owner, *words], check=True, capture_output=True)

    def only(self, files: dict[str, bytes | str]) -> Stage:
        """The tree with these files and no others."""
        for path in self.tree.iterdir():
            if path.name != ".git":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return self.write(files)

    def write(self, files: dict[str, bytes | str]) -> Stage:
        for name, content in files.items():
            (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
            (self.tree / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return self

    def says(self, **words: tuple) -> Stage:
        self.toolbox.says = words
        return self

    def ask(self, gate: Gate, **changes) -> Verdict:
        context = replace(self.context, **changes)
        return judge(gate.name, lambda: gate.run(context), tree=lambda: context.tree)

    def lint(self, **says: tuple) -> Verdict:
        names = {name.replace("_", "-"): value for name, value in says.items()}
        self.toolbox.says = {**RUFF, **names}
        return self.ask(LintGate())

    def pytest(self, *cases: str, code: int = 0, allowed: int = 0) -> Verdict:
        """The test gate with a pytest that writes this report and answers `code`."""
        report = f'<testsuites><testsuite tests="{len(cases)}">{"".join(cases)}</testsuite></testsuites>'
        (self.tmp / "report.xml").write_text(report)
        script = self.tmp / "python"
        script.write_text(
            "#!/bin/sh\n"
            'for word in "$@"; do case "$word" in *__version__*) echo 9.2.0; exit 0;; '
            '*coverage.Coverage*) echo "{\\"has_source\\": false, \\"fail_under\\": 0}"; exit 0;; '
            f'--junitxml=*|--junit-xml=*) cp "{self.tmp / "report.xml"}" "${{word#*=}}";; esac; done\n'
            f"exit {code}\n"
        )
        script.chmod(0o755)
        toolbox = self.toolbox
        toolbox.python = lambda: script
        return self.ask(TestGate(allowed_skips=allowed))

    def measured(self, *, tree: str = TREE, outcome: Outcome = Outcome.PASSED, data: bytes = b"data") -> Stage:
        """What a run of the tests leaves behind: coverage data and the verdict that vouches for them."""
        folder = self.tree / ".deploykit" / "coverage" / "test"
        folder.mkdir(parents=True)
        (folder / "data.1").write_bytes(data)
        evidence = Evidence(
            looked_at=3,
            unit="tests",
            tool="pytest",
            tool_version="9",
            settings={"coverage_data": data_fingerprint(folder)},
        )
        record_verdict(self.tree, Verdict(gate="test", outcome=outcome, evidence=evidence, tree=tree))
        return self

    def changed_since(self, base: str, *, at: Path | None = None) -> Verdict:
        root = at or self.tree

        def run() -> Verdict:
            changes = changes_since(root, base)
            evidence = Evidence(looked_at=1, unit="files", tool="git", tool_version="")
            return Verdict(gate="coverage", outcome=Outcome.PASSED, evidence=evidence, reason=changes.base)

        return judge("coverage", run, tree=str)

    def clone(self, *words: str) -> Path:
        self.write({"app.py": "VALUE = 2\n"}).git("commit", "-qam", "two")
        target = self.tmp / "clone"
        subprocess.run(["git", "clone", "-q", *words, f"file://{self.tree}", target], check=True, capture_output=True)
        return target

    def baseline_of_all(self) -> Stage:
        self.write({"keys.py": LEAK})
        known = refreshed(Baseline(), scan_files(self.tree, ["keys.py"], Baseline().rules()).secrets)
        return self.write({".secrets.baseline": known.render()})

    def without_tools(self) -> Stage:
        self.toolbox.missing = True
        return self

    def without_commits(self) -> Stage:
        shutil.rmtree(self.tree / ".git")
        subprocess.run(["git", "init", "-q", self.tree], check=True)
        return self

    def sast_error(self) -> Verdict:
        fates = {"version": "1", "python": "3", "tests": [], "skips": [], "assert_skips": []}
        error = {"./a.py": {"fate": "error", "reason": "SyntaxError: it is not UTF-8"}}
        ruff = {**RUFF, "--show-files": ("a.py\n", 0), "json-lines": ("", 0)}
        self.toolbox.says = {**ruff, "*": (json.dumps({**fates, "files": error}), 0)}
        return self.ask(SastGate())

    def submodule(self) -> Stage:
        other = self.tmp / "other"
        subprocess.run(["git", "init", "-q", other], check=True)
        (other / "code.py").write_text("exec(input())\n")
        self.git("add", "-A", at=other)
        self.git("commit", "-qm", "x", at=other)
        self.only({}).git("submodule", "add", "-q", str(other), "part")
        return self


def huge(stage: Stage) -> Verdict:
    with (stage.tree / "dump.sql").open("wb") as stream:
        stream.truncate(101_000_000)
    return stage.ask(SecretsGate())


def links(stage: Stage, gate: Gate) -> Verdict:
    stage.only({})
    (stage.tree / "loop").symlink_to(".")
    (stage.tree / "a.py").symlink_to("b.py")
    (stage.tree / "b.py").symlink_to("a.py")
    return stage.ask(gate)


def locked_folder(stage: Stage) -> Verdict:
    """Outside git, where a walk finds the files. Modes keep root out of nothing, so the system's answer is made up."""
    shutil.rmtree(stage.tree / ".git")
    stage.write({"locked/code.py": "VALUE = 1\n"})
    real = os.scandir

    def scandir(path: Path) -> Iterator[os.DirEntry[str]]:
        if str(path).rstrip("/").endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    with mock.patch("os.scandir", scandir):
        return stage.ask(SastGate())


def unreadable(stage: Stage) -> Verdict:
    (stage.tree / "app.py").unlink()
    return stage.ask(SecretsGate(), arguments=("app.py",))


def lying_pass(stage: Stage) -> Verdict:
    """One who edits the verdict of the tests by hand: the data are not those that it vouches for."""
    stage.measured()
    (stage.tree / ".deploykit/coverage/test/data.1").write_bytes(b"other")
    return stage.ask(CoverageGate())


def audit(stage: Stage, lock: str, answer: dict | str, code: int = 0) -> Verdict:
    said = answer if isinstance(answer, str) else json.dumps(answer)
    stage.write({"requirements.txt": lock})
    stage.toolbox.says = {"--version": ("pip-audit 2.10.0\n", 0), "*": (said, code)}
    return stage.ask(AuditGate(locks=("requirements.txt",)))


def by_name(stage: Stage, name: str, files: dict[str, str], root: Path | None = None) -> Verdict:
    stage.write(files)
    return run_gate(name, root or stage.tree, tree=TREE, record=lambda _verdict: None, annotate=lambda _line: None)


ZIZMOR = {"--version": ("zizmor 1.32.0\n", 0)}
WORKFLOW = {".github/workflows/a.yml": "on: push\n"}
HADOLINT = {"--version": ("Haskell Dockerfile Linter 2.15.1\n", 0)}
MYPY = {"--version": ("mypy 2.0.0\n", 0)}


def scripted(stage: Stage, gate: Gate, files: dict[str, str], says: dict[str, tuple]) -> Verdict:
    stage.write(files)
    stage.toolbox.says = says
    return stage.ask(gate)


def combined(**trees: str) -> Verdict:
    evidence = Evidence(looked_at=1, unit="files", tool="t", tool_version="1")
    made = [Verdict(gate=name, outcome=Outcome.PASSED, evidence=evidence, tree=tree) for name, tree in trees.items()]
    return combine("security", made, tree=TREE)
