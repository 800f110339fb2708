"""The Alembic plug-in (entry point `alembic.plugins`): `op.expand_*`, `op.contract`, `op.undo`, `op.reopen`.

Alembic loads it inside `import alembic`. So only the standard library is imported here at the top, and whatever goes wrong is said
and does not break that import: an application that can't import Alembic can't even migrate without the kit.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

_BY_PATH = "_deploykit_in_app"
"""The package that the kit runs by its path registers its own operations; a copy that is installed beside it keeps away."""


def setup(plugin: Any) -> None:
    """Called by Alembic with its `Plugin`. Never raises."""
    if _BY_PATH in sys.modules and not __name__.startswith(_BY_PATH):
        return
    try:
        from .alembic_operations import register

        register(plugin)
    except Exception as error:  # noqa: BLE001 - see above
        warnings.warn(
            f"deploykit's Alembic plug-in could not be set up, so op.expand_… is missing: {type(error).__name__}: {error}",
            stacklevel=2,
        )
