"""The hooks: `deploykit-hook GATE [FILES]`.

Before a commit, with the names of files or `--staged`, a gate judges what is staged: files, configuration and baseline
as git's index has them, whatever the working tree has. Without them (before a push) it judges the whole working tree.
"""

from __future__ import annotations

import gc
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deploykit.gates.report import render
from deploykit.gates.run import run_gate
from deploykit.model import DeploykitError, Outcome, UsageError
from deploykit.sessions.output import in_colour, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploykit.model import Verdict

__all__ = ["main", "run"]

_OPTIONS = ("--staged", "--history")
_GARBAGE = 100_000
"""A hook lives for a third of a second: looking for cyclic garbage while it imports is only waiting."""


def main(words: Sequence[str]) -> int:
    """Run the gate that the first word names; prints the verdict unless it is a pass. Returns its exit code."""
    if not words:
        say(["deploykit-hook GATE [FILES]"], stream=sys.stderr)
        return 3
    name, *arguments = words
    root = Path.cwd()
    try:
        verdict = _judge_staged(name, root, arguments) if arguments else _judge_tree(name, root)
    except DeploykitError as error:
        say([error.message, *(f"  {line}" for line in error.details), f"next: {error.next_step}"], stream=sys.stderr)
        return error.exit_code
    files = [word for word in arguments if not word.startswith("--")]
    nothing_here = files and verdict.outcome is Outcome.INCONCLUSIVE and not verdict.evidence.looked_at
    if nothing_here and verdict.evidence.tool:
        say([f"{name}: none of the {len(files)} files is one that this gate looks at"])
        return 0
    if verdict.outcome is not Outcome.PASSED:
        say(render(verdict, color=in_colour()))
    return verdict.outcome.exit_code


def _judge_tree(name: str, root: Path) -> Verdict:
    def tree() -> str:
        from deploykit.artifacts.git import tree_of

        return tree_of(root)

    return run_gate(name, root, tree=tree)


def _judge_staged(name: str, root: Path, arguments: Sequence[str]) -> Verdict:
    from deploykit.artifacts.staged import write_staged
    from deploykit.gates.tools import cache_home
    from deploykit.process.git import clean_environment

    staged = write_staged(root, cache_home(os.environ) / "staged")
    options = [word for word in arguments if word in _OPTIONS]
    names = [os.path.relpath(root / word, root) for word in arguments if word not in _OPTIONS]
    _reject_unstaged(staged, options, names)
    # Git gives its hooks variables that name another repository than the one that is judged.
    for variable in set(os.environ) - set(clean_environment()):
        del os.environ[variable]
    if options == ["--history"]:
        return run_gate(name, root, arguments=arguments)
    given = arguments if name == "secrets" and options else names
    return run_gate(name, staged, arguments=given, record=lambda _verdict: None)


def _reject_unstaged(staged: Path, options: Sequence[str], names: Sequence[str]) -> None:
    """Raise UsageError for a path of which the next commit has nothing, and for one that a tool takes for an option."""
    for name in (*options, *names):
        there = os.pardir not in Path(name).parts and os.path.lexists(staged / name)
        if there and name.startswith("-"):
            raise UsageError(
                f"the file name {name} begins as an option does, so a tool would not take it for a file",
                next_step=f"git mv {shlex.quote(f'./{name}')} {shlex.quote('./' + name.lstrip('-'))}",
            )
        if not there and name in names:
            raise UsageError(
                f"{name} is not staged, so the next commit has nothing of it", next_step=f"git add {shlex.quote(name)}"
            )


def run() -> None:
    """The program `deploykit-hook`."""
    gc.set_threshold(_GARBAGE)
    code = main(sys.argv[1:])
    gc.freeze()
    sys.exit(code)
