"""A declared change as Python source."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from .operations import load
from .operations.registry import DECLARATIONS

if TYPE_CHECKING:
    from .model import Change

__all__ = ["declaration_source"]

_RENAMED = {"type_": "type"}
_NEGATED = {"nullable": "required"}
_WIDTH = 100


def declaration_source(change: Change) -> str:
    """Return the call that declares the change: `op.expand_rename_column('users', 'name', 'full_name')`.

    Types are texts, as PostgreSQL writes them.
    """
    load()
    words: list[str] = []
    for name, parameter in inspect.signature(DECLARATIONS[change.kind]).parameters.items():
        value = _value(change, name, parameter)
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            if value != parameter.default and value is not None:
                words.append(f"{name}={value!r}")
        else:
            words.append(repr(value))
    line = f"op.expand_{change.kind}({', '.join(words)})"
    if len(line) <= _WIDTH:
        return line
    inner = "".join(f"    {word},\n" for word in words)
    return f"op.expand_{change.kind}(\n{inner})"


def _value(change: Change, name: str, parameter: inspect.Parameter) -> Any:
    if name == "table":
        return change.table
    if name == "schema":
        return change.schema or None
    if name == "change":
        return change.key
    if name in _NEGATED and "nullable" not in change.options and _NEGATED[name] in _POSSIBLE.get(change.kind, ()):
        return not change.options.get("required", False)
    found = change.options.get(_RENAMED.get(name, name))
    if found is None and parameter.default is not inspect.Parameter.empty:
        return parameter.default
    return found


_POSSIBLE = {"add_column": ("required",), "merge_columns": ("required",)}
