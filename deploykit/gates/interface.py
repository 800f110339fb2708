"""What a gate is, and what it is given.

A gate's own settings are its fields; what it shares with others is the context.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from deploykit.model import Verdict

__all__ = ["FORCE_VARIABLE", "WORK_FOLDER", "Gate", "GateContext", "Toolbox"]

FORCE_VARIABLE = "DEPLOYKIT_FORCE"
"""Set to anything, gates run although nothing changed, and answer nothing from a cache of their own."""
WORK_FOLDER = ".deploykit"
"""Folder in the tree for verdicts, reports and coverage data; it ignores itself, so it never dirties the tree."""


class Toolbox(Protocol):
    """Where a gate finds its programs. They live in environments of their own, never in the kit's.

    Every method may build what it is asked for, and raises InconclusiveError when that fails.
    """

    def tool(self, name: str) -> Sequence[str]:
        """The start of the command line of a tool (`ruff`, `bandit`, `pip-audit` …)."""

    def tool_python(self, name: str) -> Path:
        """The Python of the environment that the tool is installed in."""

    def python(self) -> Path:
        """The Python of an environment with the project, its dependencies and what its tests need."""

    def application_python(self) -> Path:
        """The Python of an environment with the project and its dependencies, and nothing else."""


@dataclass(frozen=True, kw_only=True)
class GateContext:
    """What every gate is given. `root` is absolute; `clock` gives seconds since the epoch, UTC.

    `tree` is the hash of the tree that is judged (uncommitted changes included), empty outside git.
    `arguments` narrow what is run (`nox -s test -- -k name`): such a run is no evidence for the whole tree.
    `base` is the revision to compare with, empty where none was given.
    `on_line` gets the output of slow tools line by line.
    """

    root: Path
    toolbox: Toolbox
    environment: Mapping[str, str]
    clock: Callable[[], float]
    tree: str = ""
    arguments: tuple[str, ...] = ()
    base: str = ""
    on_line: Callable[[str], None] = field(default=lambda _line: None)

    @property
    def work(self) -> Path:
        return self.root / WORK_FOLDER

    @property
    def reports(self) -> Path:
        return self.work / "reports"


class Gate(Protocol):
    """One property of a tree. Implementations are frozen dataclasses."""

    @property
    def name(self) -> str: ...

    def run(self, context: GateContext) -> Verdict:
        """Look, and say what was found; raises DeploykitError for what can't be judged (`run_gate` makes a verdict of
        it).
        """
