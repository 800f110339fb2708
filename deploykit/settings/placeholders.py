"""`${NAME}` in a text of the settings: the value of a variable."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["fill_in", "variable_names"]

_PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def variable_names(text: str) -> frozenset[str]:
    """The names of the variables that the text holds."""
    return frozenset(_PLACEHOLDER.findall(text))


def fill_in(text: str, values: Mapping[str, str]) -> str:
    """The text with each `${NAME}` replaced; `values` has all of `variable_names(text)`."""
    return _PLACEHOLDER.sub(lambda found: values[found[1]], text)
