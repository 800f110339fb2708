"""One module for each kind of thing that changes: `expand_*` declares a change, its planner says what it comes to."""

from importlib import import_module

_MODULES = ("copies", "nullability", "columns", "constraints", "column_moves", "indexes", "keys", "tables", "types")
"""In the order of the documentation."""


def load() -> None:
    """Have every module register its operations."""
    for name in _MODULES:
        import_module(f".{name}", __name__)
