"""The tree that a verdict is bound to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["tree_of"]


def tree_of(root: Path) -> str:
    """The hash of the tree with its uncommitted changes; empty outside git, where nothing binds a verdict to a tree."""
    from deploykit.artifacts.git import read_tree
    from deploykit.model import DeploykitError

    try:
        return read_tree(root).tree
    except DeploykitError:
        return ""
