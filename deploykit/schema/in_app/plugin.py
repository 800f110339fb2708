"""The Alembic plug-in (entry point `alembic.plugins`): `op.expand_*`, `op.contract`, `op.undo`, `op.reopen`.

Alembic loads it inside `import alembic`. So this module imports the standard library only, and turns failures into
warnings. An application that can't import Alembic could not migrate at all.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

_BY_PATH = "_deploykit_in_app"
"""The package that the kit runs by its path. It registers its own operations, and an installed copy does nothing."""


def setup(plugin: Any) -> None:
    """Register the operations; Alembic calls it with its `Plugin`. Never raises."""
    if _BY_PATH in sys.modules and not __name__.startswith(_BY_PATH):
        return
    try:
        from .alembic_operations import register

        register(plugin)
    except Exception as error:  # noqa: BLE001 - see above
        warnings.warn(
            "deploykit's Alembic plug-in could not be set up, so op.expand_… is missing: "
            f"{type(error).__name__}: {error}",
            stacklevel=2,
        )
