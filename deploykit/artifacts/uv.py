"""Calling uv to build, resolve and install."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.model import DeploykitError
from deploykit.process import Completed, run
from deploykit.process.git import clean_environment
from deploykit.process.uv import find_uv, uv_environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["UvError", "uv"]

_TIMEOUT = 900.0
_SHOWN_LINES = 20


class UvError(DeploykitError):
    """uv answered something else than 0; the details are its own last lines."""


def uv(
    *words: str | Path, what: str, cwd: Path, extra: Mapping[str, str] | None = None, next_step: str = ""
) -> Completed:
    """Run uv in `cwd`. `what` says in an error what could not be done; `extra` variables are added to its environment.

    Raises UvError with uv's own last lines.
    """
    env = uv_environment(clean_environment()) | dict(extra or {})
    done = run([find_uv(), *words], cwd=cwd, env=env, timeout=_TIMEOUT, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-_SHOWN_LINES:]
        raise UvError(f"{what} failed (uv answered {done.returncode})", details=said, next_step=next_step)
    return done
