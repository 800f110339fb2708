"""`invoke evidence.export` and `evidence.import`: a release uses the evidence of another clone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deploykit.tasks.command import command, repository
from deploykit.tasks.output import say

if TYPE_CHECKING:
    from invoke.context import Context

__all__ = ["NAME", "TASKS"]

NAME = "evidence"


@command(positional=["file"], help={"file": "where to write it"})
def export(_context: Context, file: str) -> int | None:
    """Write what has passed on exactly this tree to a file."""
    from deploykit.artifacts.git import tree_of
    from deploykit.gates.evidence_bundle import export_evidence

    root, path = repository(), Path(file)
    tree = tree_of(root)
    passes = export_evidence(root, path, tree=tree)
    say(f"{path}: {', '.join(verdict.gate for verdict in passes)} passed on tree {tree[:12]}")
    return None


@command(name="import", positional=["file"], help={"file": "what evidence.export has written"})
def import_(_context: Context, file: str) -> int | None:
    """Import what passed in another clone on exactly this tree, for a release.

    A damaged file, one about another tree, and one that another machine has
    sealed are refused.
    """
    from deploykit.artifacts.git import tree_of
    from deploykit.gates.evidence_bundle import import_evidence

    root, path = repository(), Path(file)
    tree = tree_of(root)
    passes = import_evidence(root, path, tree=tree)
    say(f"imported for tree {tree[:12]}: {', '.join(verdict.gate for verdict in passes)}")
    return None


TASKS = (export, import_)
