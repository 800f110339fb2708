"""The typing gate: mypy, run in the project's own environment, so that its plug-ins and stubs are found."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.gates.obeyed import shielded
from deploykit.gates.tooling import crashed, run_tool, tool_caches, tool_environment
from deploykit.model import Evidence, Finding, InconclusiveError, Outcome, Severity, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploykit.gates.interface import GateContext
    from deploykit.process.run import Completed

__all__ = ["TypingGate", "interpret"]

_LINE = re.compile(
    r"^(?P<path>.+?):(?:(?P<line>\d+):)?(?:\d+:)? (?P<kind>error|note): (?P<message>.*?)(?:  \[(?P<rule>[\w-]+)\])?$"
)
_FLAGS = ("--no-pretty", "--no-color-output", "--hide-error-context", "--error-summary", "--show-error-codes")


@dataclass(frozen=True, kw_only=True)
class TypingGate:
    """`paths` are given to mypy; none: what mypy's own configuration names."""

    paths: tuple[str, ...] = ()
    name: str = "typing"

    def run(self, context: GateContext) -> Verdict:
        environment = shielded("mypy", tool_environment(context.environment, project=context.work))
        environment |= tool_caches(context.root)
        environment.pop("FORCE_COLOR", None)
        environment.pop("MYPY_FORCE_COLOR", None)
        python = context.toolbox.python()
        mypy = [str(python), "-P", "-m", "mypy"]  # -P: a `mypy.py` of the tree is not taken for it
        version = run_tool([*mypy, "--version"], root=context.root, environment=environment, answers=(0,))
        paths = context.arguments or self.paths
        completed = run_tool([*mypy, *_FLAGS, *paths], root=context.root, environment=environment, answers=(0, 1, 2))
        words = version.stdout.split()
        return interpret(completed, version=words[1] if len(words) > 1 else "", paths=paths)


def interpret(completed: Completed, *, version: str, paths: Sequence[str]) -> Verdict:
    """The verdict on what mypy printed. Raises InconclusiveError when it says neither errors nor success."""
    findings = tuple(
        Finding(
            rule=match["rule"] or "mypy",
            message=match["message"],
            path=match["path"],
            line=int(match["line"] or 0),
            severity=Severity.UNKNOWN,
        )
        for line in completed.stdout.splitlines()
        if (match := _LINE.match(line)) and match["kind"] == "error"
    )
    counted = re.search(r"(?:checked|in) (\d+) source files?\)?$", completed.stdout.strip())
    evidence = Evidence(
        looked_at=int(counted[1]) if counted else 0,
        unit="files",
        tool="mypy",
        tool_version=version,
        settings={"paths": " ".join(paths) or "as mypy is configured"},
    )
    if findings and completed.returncode in {1, 2}:
        stopped = completed.returncode == 2
        return Verdict(
            gate="typing",
            outcome=Outcome.FINDINGS,
            evidence=evidence,
            findings=findings,
            reason=f"{len(findings)} errors" + (", and they kept mypy from looking further" if stopped else ""),
            next_step="fix the lines above, then run the gate again",
        )
    if completed.returncode != 0:
        raise crashed(completed, "mypy could not look at the code")
    if not evidence.looked_at:
        raise InconclusiveError(
            "mypy says nothing about how many files it checked",
            details=completed.stdout.splitlines()[-5:],
            next_step="name what to check: lint.typing_paths in [tool.deploykit], or files in [tool.mypy]",
        )
    return Verdict(gate="typing", outcome=Outcome.PASSED, evidence=evidence)
