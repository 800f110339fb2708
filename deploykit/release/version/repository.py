"""The sources that an environment is released from."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.model.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from deploykit.settings.loader import Loaded
    from deploykit.settings.models import EnvironmentSettings, Settings

__all__ = ["Repository"]

_SHARE_REQUESTS = frozenset({"rolling", "canary"})


@dataclass(frozen=True)
class Repository:
    """A repository with its settings, as seen from one environment. `name` is the environment's."""

    loaded: Loaded
    name: str

    @property
    def root(self) -> Path:
        return self.loaded.root

    @property
    def settings(self) -> Settings:
        return self.loaded.settings

    @property
    def environment(self) -> EnvironmentSettings:
        """The settings of this environment alone."""
        return self.loaded.settings.environments[self.name]

    @property
    def command(self) -> tuple[str, ...]:
        """The words of the setting `service.command`; empty where none is set."""
        return tuple(shlex.split(self.settings.service.command))

    def require_command(self) -> tuple[str, ...]:
        """The words of the command that starts the service, set or found. Raises UsageError where there is none."""
        strategy = self.environment.strategy
        if strategy in _SHARE_REQUESTS and self.settings.processes and not self.settings.service.command:
            raise UsageError(
                f"{strategy} gives users' requests to a new version step by step, and nothing of {self.settings.app} "
                "takes requests: it only has processes, and no command is set or found that starts a service",
                next_step="set service.command under [tool.deploykit], or strategy to something else in "
                f"{self.locate('strategy')}",
            )
        return self.loaded.require_command()

    def locate(self, setting: str) -> str:
        """Where a setting of this environment is, such as `pyproject.toml:12`."""
        return self.loaded.locate(f"environments.{self.name}.{setting}")
