"""`[tool.deploykit]` of pyproject.toml, and where the kit keeps its own files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.settings.paths import StatePaths, state_home

if TYPE_CHECKING:
    from deploykit.settings.loader import Loaded, load

__all__ = ["Loaded", "StatePaths", "load", "state_home"]


def __getattr__(name: str) -> object:
    # Pydantic costs a tenth of a second; only those who load settings pay for it.
    if name in {"Loaded", "load"}:
        from deploykit.settings import loader

        return getattr(loader, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
