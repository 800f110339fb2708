"""The pre-commit hooks: `deploykit-hook GATE [FILES]`; files narrow a gate to what is committed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deploykit.gates.report import render, wants_color
from deploykit.gates.run import run_gate
from deploykit.model import DeploykitError, Outcome
from deploykit.sessions.trees import tree_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "run"]


def main(words: Sequence[str]) -> int:
    """Run the gate that the first word names; prints the verdict unless it is a pass. Returns its exit code."""
    if not words:
        print("deploykit-hook GATE [FILES]", file=sys.stderr)
        return 3
    name, *files = words
    root = Path.cwd()
    try:
        verdict = run_gate(name, root, arguments=files, tree=lambda: "" if files else tree_of(root))
    except DeploykitError as error:
        print(f"{error.message}\nnext: {error.next_step}", file=sys.stderr)
        return error.exit_code
    nothing_here = files and verdict.outcome is Outcome.INCONCLUSIVE and not verdict.evidence.looked_at
    if nothing_here and verdict.evidence.tool:
        print(f"{name}: none of the {len(files)} files is one that this gate looks at")
        return 0
    if verdict.outcome is not Outcome.PASSED:
        print(render(verdict, color=wants_color(os.environ, is_terminal=sys.stdout.isatty())))
    return verdict.outcome.exit_code


def run() -> None:
    """The program `deploykit-hook`."""
    sys.exit(main(sys.argv[1:]))
