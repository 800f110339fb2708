"""Tools and the project in the virtual environment of a nox session; nothing is installed twice for the same locks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nox.command import CommandFailed

from deploykit.gates.catalog import project_needs
from deploykit.gates.project_environment import ProjectNeeds, fill_project_environment, project_key
from deploykit.gates.run import managed_toolbox
from deploykit.gates.tools import environment_key, family_of, lock_of
from deploykit.model import InconclusiveError
from deploykit.process.uv import UNSHARED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import nox

    from deploykit.gates.interface import Toolbox
    from deploykit.settings.models import Settings

__all__ = ["SessionToolbox", "session_toolbox"]


def session_toolbox(
    session: nox.Session,
    gate: str,
    root: Path,
    settings: Settings,
    environment: Mapping[str, str],
    *,
    in_project: bool,
) -> Toolbox:
    """The toolbox of a session.

    Without a virtual environment (`nox --no-venv`) the tools come from the user's cache.
    """
    managed = managed_toolbox(root, settings, environment)
    if session.virtualenv.bin_paths is None:
        return managed
    families = {"typing": ("mypy",)}.get(gate, ("pytest",))
    return SessionToolbox(
        session,
        root=root,
        needs=project_needs(settings) if in_project else None,
        families=families,
        environment=environment,
        other=managed,
    )


class SessionToolbox:
    """`needs` are those of a gate that runs in the project's environment, which is then this session's own."""

    def __init__(
        self,
        session: nox.Session,
        *,
        root: Path,
        needs: ProjectNeeds | None,
        families: Sequence[str],
        environment: Mapping[str, str],
        other: Toolbox,
    ) -> None:
        self._session = session
        self._root = root
        self._needs = needs
        self._families = families
        self._environment = environment
        self._other = other
        self._folder = Path(session.virtualenv.location)

    @property
    def _bin(self) -> Path:
        return Path(self._session.bin)

    def tool(self, name: str) -> Sequence[str]:
        family = family_of(name)
        lock = lock_of(family)
        installer = NoxInstaller(self._session)
        if not self._is_made(family, key := environment_key(lock.read_bytes())):
            installer.install("--require-hashes", "-r", str(lock))
            self._made(family, key, name)
        return [str(self._bin / name)]

    def tool_python(self, name: str) -> Path:
        self.tool(name)
        return self._bin / "python"

    def python(self) -> Path:
        if self._needs is None:
            return self._other.python()
        key = project_key(self._root, self._needs, self._families)
        if not self._is_made("project", key):
            fill_project_environment(
                NoxInstaller(self._session),
                self._root,
                self._needs,
                environment=self._environment,
                families=self._families,
            )
            self._made("project", key, self._families[0])
        return self._bin / "python"

    def application_python(self) -> Path:
        return self._other.application_python()

    def _is_made(self, what: str, key: str) -> bool:
        stamp = self._folder / f".deploykit-{what}"
        return stamp.exists() and stamp.read_text(encoding="utf-8") == key

    def _made(self, what: str, key: str, program: str) -> None:
        if (self._bin / program).exists():  # not so with `nox --no-install` on a new environment
            (self._folder / f".deploykit-{what}").write_text(key, encoding="utf-8")


class NoxInstaller:
    """Installs into the session's environment with what made it, uv or virtualenv's pip."""

    understands_groups = True

    def __init__(self, session: nox.Session) -> None:
        self._session = session
        self.understands_groups = session.venv_backend == "uv"

    @property
    def python(self) -> Path:
        return Path(self._session.bin) / "python"

    def install(self, *words: str) -> None:
        try:
            self._session.install(*words, env=UNSHARED)
        except CommandFailed as error:
            raise InconclusiveError(
                "the session's environment could not be made",
                details=["see the output of the installer above"],
                next_step="check the network and the package index, then run the session again",
            ) from error
