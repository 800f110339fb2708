"""The test gate: pytest under coverage. A run that collected nothing, or skipped more than is allowed, is no pass.

The coverage data of each gate of this kind lie in a folder of their own, so that sessions can run in parallel;
the coverage gate combines them, and knows by their fingerprint that they are this verdict's.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.gates.coverage_settings import read_coverage_settings
from deploykit.gates.files import fingerprint
from deploykit.gates.junit import Counts, read_counts
from deploykit.gates.tooling import crashed, last_lines, run_tool, tool_environment
from deploykit.gates.verdict_files import prepare_work_folder
from deploykit.model import Evidence, InconclusiveError, Outcome, UsageError, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deploykit.gates.interface import GateContext
    from deploykit.process.run import Completed

__all__ = ["TestGate", "data_fingerprint", "interpret"]

_TEST_SECONDS = 3600.0


@dataclass(frozen=True, kw_only=True)
class TestGate:
    """`paths` and `arguments` are given to pytest; `source` are the packages or folders whose coverage is measured.

    `name` also names the folder of the coverage data, so a second gate of this kind (`integration`) needs another one.
    """

    __test__ = False  # not a test, whatever pytest makes of the name

    paths: tuple[str, ...] = ("tests",)
    arguments: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    allowed_skips: int = 0
    name: str = "test"

    def run(self, context: GateContext) -> Verdict:
        prepare_work_folder(context.root)
        if context.arguments:
            with tempfile.TemporaryDirectory(prefix="deploykit-") as folder:
                return self._run(context, Path(folder) / "data", Path(folder) / "report.xml")
        data = context.work / "coverage" / self.name
        if data.exists():
            shutil.rmtree(data)
        return self._run(context, data, context.reports / f"{self.name}.xml")

    def _run(self, context: GateContext, data: Path, report: Path) -> Verdict:
        data.mkdir(parents=True)
        report.parent.mkdir(parents=True, exist_ok=True)
        report.unlink(missing_ok=True)
        python = context.toolbox.python()
        environment = tool_environment(context.environment, project=context.work)
        environment.pop("PYTHONOPTIMIZE", None)  # with it, assert statements do nothing
        version = self._version(context, python, environment)
        completed = run_tool(
            [*self._measured(context, python, data), "-m", "pytest", *self._words(context, python, report)],
            root=context.root,
            environment=environment,
            answers=range(-64, 256),  # each is handled below
            timeout=_TEST_SECONDS,
            on_line=context.on_line,
        )
        settings: dict[str, Any] = {
            "paths": " ".join(self.paths),
            "arguments": " ".join((*self.arguments, *context.arguments)) or "none",
            "allowed_skips": self.allowed_skips,
            "coverage_data": data_fingerprint(data),
        }
        if not context.tree:
            settings["files"] = fingerprint(context.root)
        return interpret(
            completed,
            counts=read_counts(report) if completed.returncode in {0, 1, 2, 5} else None,
            gate=self.name,
            version=version,
            allowed_skips=self.allowed_skips,
            settings=settings,
        )

    def _version(self, context: GateContext, python: Path, environment: Mapping[str, str]) -> str:
        asked = "import pytest; print(pytest.__version__)"
        return run_tool(
            [python, "-c", asked], root=context.root, environment=environment, answers=(0,), timeout=60
        ).stdout.strip()

    def _measured(self, context: GateContext, python: Path, data: Path) -> list[str]:
        own = read_coverage_settings(context)
        source = [] if own.has_source or not self.source else [f"--source={','.join(self.source)}"]
        return [str(python), "-m", "coverage", "run", "--parallel-mode", f"--data-file={data / 'data'}", *source]

    def _words(self, context: GateContext, python: Path, report: Path) -> list[str]:
        words = [f"--junit-xml={report}", "-o", "junit_family=xunit1"]
        if _has_pytest_cov(python):
            words.append("--no-cov")  # two measurers in one process would each see half
        # Arguments may name tests; the configured folders would then widen what was asked for.
        narrowed = any(
            not word.startswith("-") and (context.root / word.split("::")[0]).exists() for word in context.arguments
        )
        return [*words, *self.arguments, *context.arguments, *(() if narrowed else self.paths)]


def data_fingerprint(folder: Path) -> str:
    """A hash of the coverage data in a folder; empty when there are none."""
    files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    if not files:
        return ""
    whole = hashlib.sha256()
    for path in files:
        whole.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def interpret(
    completed: Completed,
    *,
    counts: Counts | None,
    gate: str,
    version: str,
    allowed_skips: int,
    settings: Mapping[str, Any],
) -> Verdict:
    """The verdict on pytest's exit code (its documentation, "Exit codes") and report.

    Raises InconclusiveError when pytest crashed or collected nothing, UsageError when it was called wrongly.
    """
    if completed.returncode == 4 and "ImportError while loading conftest" not in completed.stdout + completed.stderr:
        raise UsageError(
            "pytest refuses its command line or configuration",
            details=last_lines(completed),
            next_step="check tests.paths and tests.arguments in [tool.deploykit], and pytest's own configuration",
        )
    if counts is None or (completed.returncode == 2 and not counts.failures):
        raise crashed(completed, f"pytest was interrupted or crashed (exit code {completed.returncode})")
    deselected = re.search(r"(\d+) deselected", completed.stdout)
    evidence = Evidence(
        looked_at=counts.ran,
        unit="tests",
        tool="pytest",
        tool_version=version,
        settings=settings,
        notes=(
            *((f"deselected by pytest's own configuration: {deselected[1]}",) if deselected else ()),
            *((f"failed as expected (xfail): {counts.expected_failures}",) if counts.expected_failures else ()),
            *_rerun_notes(completed, counts),
            *(f"skipped: {name}" for name in counts.skipped[:20]),
        ),
    )
    if counts.failures or completed.returncode == 1:
        if not counts.failures:
            raise crashed(completed, "pytest answers that tests failed and reports none")
        return Verdict(
            gate=gate,
            outcome=Outcome.FINDINGS,
            evidence=evidence,
            findings=counts.failures,
            reason=f"{len(counts.failures)} of {counts.ran} tests failed",
            next_step=_rerun(counts),
        )
    if counts.ran == 0:
        what = f"all {len(counts.skipped)} tests were skipped" if counts.skipped else "pytest collected no tests"
        raise InconclusiveError(
            what,
            details=[*counts.skipped[:20]] or last_lines(completed),
            next_step="check tests.paths in [tool.deploykit]; "
            "a test that can't run here has to fail, not to be skipped",
        )
    if counts.expected_failures == counts.ran:
        raise InconclusiveError(
            f"all {counts.ran} tests failed as their xfail mark expects, so none passed",
            next_step="remove the mark xfail from tests that have to pass",
        )
    if (reason := _not_all_ran(completed)) is not None:
        raise InconclusiveError(
            reason, details=last_lines(completed), next_step="run all of them, without pytest.exit and without --lf"
        )
    if len(counts.skipped) > allowed_skips:
        return Verdict(
            gate=gate,
            outcome=Outcome.INCONCLUSIVE,
            evidence=evidence,
            reason=f"{len(counts.skipped)} tests were skipped, {allowed_skips} are allowed",
            next_step="make them run, or set how many may be skipped: tests.allowed_skips",
        )
    return Verdict(gate=gate, outcome=Outcome.PASSED, evidence=evidence)


def _not_all_ran(completed: Completed) -> str | None:
    """Why not all tests ran although pytest reports success."""
    if "_pytest.outcomes.Exit:" in completed.stdout:
        return "the test run was ended early, by pytest.exit"
    if "run-last-failure: rerun previous" in completed.stdout:
        return "only the tests that failed last time were run (--lf)"
    return None


def _rerun_notes(completed: Completed, counts: Counts) -> list[str]:
    """What pytest-rerunfailures did: a test that passed only then is no failure, and nothing to be silent about."""
    found = re.search(r"(\d+) rerun\b", completed.stdout)
    if not found:
        return []
    passed = [name for name in counts.repeated if not any(name in finding.message for finding in counts.failures)]
    return [f"tried again after a failure: {found[1]}", *(f"passed only when tried again: {name}" for name in passed)]


def _rerun(counts: Counts) -> str:
    paths = sorted({finding.path for finding in counts.failures if finding.path})
    return f"nox -s test -- {' '.join(paths[:3])}" if paths else "nox -s test -- --lf"


def _has_pytest_cov(python: Path) -> bool:
    return any(python.parent.parent.glob("lib/python*/site-packages/pytest_cov/__init__.py"))
