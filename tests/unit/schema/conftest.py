from __future__ import annotations

from tests.shared.migrations import tree

__all__ = ["tree"]
