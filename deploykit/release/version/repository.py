"""The sources that an environment is released from."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from deploykit.settings.loader import Loaded
    from deploykit.settings.models import EnvironmentSettings, Settings

__all__ = ["Repository"]


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

    def locate(self, setting: str) -> str:
        """Where a setting of this environment is, such as `pyproject.toml:12`."""
        return self.loaded.locate(f"environments.{self.name}.{setting}")
