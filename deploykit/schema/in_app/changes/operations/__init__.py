"""One module for each kind of object: `expand_*` declares a change, its planner returns the steps."""

from importlib import import_module

_MODULES = ("copies", "nullability", "columns", "constraints", "column_moves", "indexes", "keys", "tables", "types")
"""In the order of the documentation."""


def load() -> None:
    """Import every module, which registers its operations."""
    for name in _MODULES:
        import_module(f".{name}", __name__)
