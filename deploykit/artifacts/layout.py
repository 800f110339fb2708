"""Where in the store its parts are, for those who need a folder of it and not the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["resolutions"]


def resolutions(store: Path) -> Path:
    """The folder of kept resolutions in the store whose root is `store` (`StatePaths.artifacts`)."""
    return store / "resolutions"
