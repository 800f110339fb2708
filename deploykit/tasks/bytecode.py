"""Bytecode of the kit's own modules.

invoke forbids its whole process to write any, so that none is left beside a tasks.py. pip compiles what it installs,
but not an editable install: there each command would compile the kit again, a fifth of a second of a release.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["written"]


@contextlib.contextmanager
def written() -> Iterator[None]:
    """Write the bytecode of what is imported inside, unless the user forbids it (`PYTHONDONTWRITEBYTECODE`, `-B`).

    Only the kit's own imports belong inside: a user's modules are left to invoke.
    """
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
