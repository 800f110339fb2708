"""The pre-commit hooks: `deploykit-hook GATE [FILES]`; files narrow a gate to what is committed."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deploykit.gates.run import run_gate
from deploykit.model import DeploykitError, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "run"]

_GARBAGE = 100_000
"""A hook lives for a third of a second: looking for cyclic garbage while it imports is only waiting."""


def main(words: Sequence[str]) -> int:
    """Run the gate that the first word names; prints the verdict unless it is a pass. Returns its exit code."""
    if not words:
        print("deploykit-hook GATE [FILES]", file=sys.stderr)
        return 3
    name, *files = words
    root = Path.cwd()

    def tree() -> str:
        if files:
            return ""
        from deploykit.artifacts.git import tree_of

        return tree_of(root)

    try:
        verdict = run_gate(name, root, arguments=files, tree=tree)
    except DeploykitError as error:
        print(f"{error.message}\nnext: {error.next_step}", file=sys.stderr)
        return error.exit_code
    nothing_here = files and verdict.outcome is Outcome.INCONCLUSIVE and not verdict.evidence.looked_at
    if nothing_here and verdict.evidence.tool:
        print(f"{name}: none of the {len(files)} files is one that this gate looks at")
        return 0
    if verdict.outcome is not Outcome.PASSED:
        from deploykit.gates.report import render, wants_color

        print(render(verdict, color=wants_color(os.environ, is_terminal=sys.stdout.isatty())))
    return verdict.outcome.exit_code


def run() -> None:
    """The program `deploykit-hook`."""
    gc.set_threshold(_GARBAGE)
    code = main(sys.argv[1:])
    gc.freeze()
    sys.exit(code)
