"""Calling uv: found beside the kit or on PATH, with an environment that nothing around it can bend."""

from __future__ import annotations

import shutil
from functools import cache
from typing import TYPE_CHECKING

from deploykit.artifacts.git import clean_environment
from deploykit.model import DeploykitError, UsageError
from deploykit.process import Completed, run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["UvError", "find_uv", "uv"]

_TIMEOUT = 900.0
_SHOWN_LINES = 20
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
        "UV_LINK_MODE",
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


class UvError(DeploykitError):
    """uv answered something else than 0; the details are its own last lines."""


@cache
def find_uv() -> str:
    """The uv program: from the kit's own environment, else from PATH. Raises UsageError when there is none."""
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        raise UsageError("uv, which makes the environments of artefacts, is not installed", next_step="pip install uv")
    return found


def uv(
    *words: str | Path, what: str, cwd: Path, extra: Mapping[str, str] | None = None, next_step: str = ""
) -> Completed:
    """Run uv in `cwd`. `what` says in an error what could not be done; `extra` variables are added to its environment.

    Raises UvError with uv's own last lines.
    """
    env = {name: value for name, value in clean_environment().items() if name not in _DROPPED}
    env |= {
        "NO_COLOR": "1",
        "UV_NO_PROGRESS": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_LINK_MODE": "copy",
        **(extra or {}),
    }
    done = run([find_uv(), *words], cwd=cwd, env=env, timeout=_TIMEOUT, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-_SHOWN_LINES:]
        raise UvError(f"{what} failed (uv answered {done.returncode})", details=said, next_step=next_step)
    return done
