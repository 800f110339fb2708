"""The tree that a verdict is bound to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.artifacts.git import read_tree
from deploykit.model import DeploykitError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["tree_of"]


def tree_of(root: Path) -> str:
    """The hash of the tree with its uncommitted changes; empty where there is no git, or nothing in it yet."""
    try:
        return read_tree(root).tree
    except DeploykitError:
        return ""
