"""The kit's schema commands, run where the application's driver and revisions are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploykit.artifacts.files import copied
from deploykit.credentials import Redactor
from deploykit.release.version.instances import one_off
from deploykit.release.version.values import secrets_in
from deploykit.schema.runner import (
    IN_APP,
    change_command,
    inspect_command,
    parse,
    parse_change,
    parse_upgrade,
    upgrade_command,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from deploykit.release.version.instances import RunnableVersion
    from deploykit.schema.inspection import Inspection
    from deploykit.schema.runner import Upgrade
    from deploykit.targets.interface import Target

__all__ = ["SchemaCommands"]

_IN_CONTAINERS = "/run/deploykit-schema"
_INSPECT_SECONDS = 60.0
_OWN_LINES = ("@deploykit ", "ran ")
"""How lines begin that the kit's command prints for the kit, and that `on_line` does not get."""


@dataclass(frozen=True, kw_only=True)
class SchemaCommands:
    """Runs schema commands of `version` on its target. Output and errors are without the app's secrets; times are
    seconds.

    Each raises DeploykitError when the command could not be run or gave no answer.
    """

    target: Target
    version: RunnableVersion
    parts: Path
    """See `StatePaths.parts`."""

    def inspect(self) -> Inspection:
        """The revisions of the version, and where the database is."""
        argv = inspect_command(*self._location, variable=self._variable, folder=self._folder)
        return parse(self._run(argv, timeout=_INSPECT_SECONDS))

    def upgrade(
        self, options: Mapping[str, Any] | None, *, timeout: float, on_line: Callable[[str], None] | None
    ) -> Upgrade:
        """Upgrade to the version's heads.

        `options`: also fill declared changes; see `schema.runner.upgrade_command`.
        """
        argv = upgrade_command(*self._location, variable=self._variable, folder=self._folder, options=options)
        return parse_upgrade(self._run(argv, timeout=timeout, on_line=on_line))

    def change(
        self, action: str, options: Mapping[str, Any], *, timeout: float, on_line: Callable[[str], None]
    ) -> Mapping[str, Any]:
        """An action on declared changes; see `schema.runner.change_command`."""
        argv = change_command(action, *self._location, options=options, variable=self._variable, folder=self._folder)
        return parse_change(self._run(argv, timeout=timeout, on_line=on_line))

    def redact(self, text: str) -> str:
        """The text without the values of the version's secrets."""
        return self._redactor(text)

    @property
    def _redactor(self) -> Redactor:
        return Redactor(secrets_in(self.version.values))

    @property
    def _location(self) -> tuple[str, str, str]:
        artifact = self.version.artifact
        return str(artifact.python), self.version.spec.database.migrations, str(artifact.tree)

    @property
    def _variable(self) -> str:
        return self.version.spec.database.variable

    @property
    def _folder(self) -> str:
        """Where the kit's commands are: a container does not see this machine's disk, so they are copied into it. And a
        user of the app's own may not see where the kit is installed.
        """
        if self.version.artifact.image:
            return _IN_CONTAINERS
        return str(copied(IN_APP, self.parts) if self.version.spec.user else IN_APP)

    def _run(self, argv: Sequence[str], *, timeout: float, on_line: Callable[[str], None] | None = None) -> list[str]:
        redact = self._redactor
        files = {self._folder: IN_APP} if self.version.artifact.image else {}

        def show(line: str) -> None:
            if on_line is not None and line.strip() and not line.startswith(_OWN_LINES):
                on_line(redact(line))

        command = one_off(self.version, argv, timeout=timeout, files=files)
        result = self.target.run(command, on_line=show if on_line is not None else None)
        return [redact(line) for line in result.output]
