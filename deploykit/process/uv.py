"""uv: where it is, and an environment in which it does what its arguments say."""

from __future__ import annotations

import shutil
from functools import cache
from typing import TYPE_CHECKING

from deploykit.model import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["UNSHARED", "find_uv", "uv_environment"]

UNSHARED = {"UV_LINK_MODE": "copy"}
"""uv links files into environments from its cache: a test that writes into its environment would change every other
environment that has the file, scanners included."""
# What would change where uv installs, from which interpreter, or how; indexes, certificates and caches stay the user's.
_DROPPED = frozenset(
    {
        "CONDA_DEFAULT_ENV",
        "CONDA_PREFIX",
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "UV_BREAK_SYSTEM_PACKAGES",
        "UV_COMPILE_BYTECODE",
        "UV_FROZEN",
        "UV_LOCKED",
        "UV_NO_BUILD_ISOLATION",
        "UV_PROJECT",
        "UV_PROJECT_ENVIRONMENT",
        "UV_PYTHON",
        "UV_REQUIRE_HASHES",
        "UV_SYSTEM_PYTHON",
        "UV_WORKING_DIR",
        "VIRTUAL_ENV",
    }
)


@cache
def find_uv() -> str:
    """The uv program: from the kit's own environment, else from PATH. Raises UsageError when there is none."""
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        raise UsageError("uv, which makes Python environments, is not installed", next_step="pip install uv")
    return found


def uv_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables for a call of uv: those of `environment` that don't change what uv is asked to do."""
    kept = {name: value for name, value in environment.items() if name not in _DROPPED}
    return kept | {"NO_COLOR": "1", "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never", **UNSHARED}
