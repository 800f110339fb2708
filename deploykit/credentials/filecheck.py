"""How a file with secrets is kept: not in git, and readable by nobody else."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from deploykit.model import DeploykitError
from deploykit.process import run

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["file_warnings"]


def file_warnings(path: Path) -> tuple[str, ...]:
    """Sentences about a file of secrets that git tracks, or that others may read."""
    warnings = []
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        warnings.append(f"{path.name} can be read by others (mode {mode:04o}): chmod 600 {path.name}")
    if _tracked(path):
        warnings.append(f"{path.name} is in git, where its secrets stay for ever: git rm --cached {path.name}")
    return tuple(warnings)


def _tracked(path: Path) -> bool:
    """Whether git tracks the file; where there is no git or no repository, it does not."""
    # In a git hook these variables name that hook's repository and index, which may be others.
    env = {
        name: value for name, value in os.environ.items() if name not in {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}
    }
    command = ("git", "-c", "core.fsmonitor=false", "ls-files", "--error-unmatch", "--", path.name)
    try:
        return run(command, cwd=path.parent, env=env, timeout=30.0, check=False).returncode == 0
    except DeploykitError:
        return False
