"""Everything a command works with in one environment, wired from the settings or, without a repository, from the record."""

from __future__ import annotations

import json
import os
import weakref
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from deploykit.model.errors import UsageError
from deploykit.process.cancellation import Cancellation
from deploykit.process.files import write_atomically
from deploykit.release.places import Place, Remembered, recall, remember
from deploykit.settings.loader import load
from deploykit.settings.paths import StatePaths, state_home

if TYPE_CHECKING:
    from pathlib import Path

    from deploykit.edge.interface import Edge
    from deploykit.ledger.sql import SqlLedger
    from deploykit.process.supervisor.client import Supervisor
    from deploykit.settings.loader import Loaded
    from deploykit.settings.models import Environment
    from deploykit.targets.embedded import EmbeddedPostgres
    from deploykit.targets.interface import Target

__all__ = ["Surroundings", "open_surroundings"]

_ROOTS = "roots.json"


@dataclass(frozen=True)
class Surroundings:
    """One app in one environment. The parts are made when they are first asked for.

    `loaded` and `environment` are None where there is no repository (its folder is gone): what runs can still be looked
    at, rolled back and stopped.
    """

    root: Path
    app: str
    name: str
    paths: StatePaths
    loaded: Loaded | None
    environment: Environment | None
    cancellation: Cancellation = field(default_factory=Cancellation, repr=False)
    """Of the command. Where nobody listens to signals it never comes."""

    @cached_property
    def supervisor(self) -> Supervisor:
        from deploykit.process.supervisor.client import Supervisor

        return Supervisor(self.paths.supervisor)

    @cached_property
    def place(self) -> Place:
        """Where it goes: by the settings, or by what was noted when their sources were still there."""
        noted = self.noted
        if noted.target == "process":
            from deploykit.release.places.process import ProcessPlace

            return ProcessPlace(self)
        if noted.target == "docker":
            from deploykit.release.places.docker import DockerPlace

            return DockerPlace(self, noted)
        raise not_yet(self.name, noted.target)

    @cached_property
    def noted(self) -> Remembered:
        if self.loaded is None or self.environment is None:
            return recall(self.paths.root)
        settings, environment = self.loaded.settings, self.environment
        return Remembered(
            target=environment.target,
            host=environment.host,
            port=environment.port,
            bind=environment.bind,
            health=settings.service.health,
            edge_image=settings.docker.edge_image,
            image_port=settings.image.port,
            ledger=environment.ledger,
        )

    @property
    def target(self) -> Target:
        return self.place.target

    @property
    def edge(self) -> Edge:
        return self.place.edge

    @cached_property
    def database(self) -> EmbeddedPostgres:
        from deploykit.targets.embedded import EmbeddedPostgres

        return EmbeddedPostgres(self.paths, self.supervisor, wait=self.cancellation.wait)

    @cached_property
    def ledger(self) -> SqlLedger:
        from deploykit.ledger.sql import open_ledger

        ledger = open_ledger(self._ledger_place(), app=self.app, environment=self.name)
        weakref.finalize(self, ledger.close)  # at the end of a command at the latest: SQLite then leaves one file
        return ledger

    def _ledger_place(self) -> str:
        kind, _, variable = self.noted.ledger.partition(":")
        if kind != "env":
            return str(self.paths.ledger)
        if url := value_of(self, variable):
            return url
        raise UsageError(
            f"the record's place is not known: the variable {variable} has no value",
            details=[f"{self.loaded.locate(f'environments.{self.name}.ledger')} says env:{variable}"]
            if self.loaded
            else [],
            next_step=f"put {variable}=postgresql://… into .env.{self.name}, or export it",
        )

    @property
    def values_folder(self) -> Path:
        return self.paths.root / "values"

    def remember_root(self) -> None:
        """Note which app this folder releases, so that a command typed here finds it when the sources are gone."""
        remember(self.paths.root, self.noted)
        roots = _roots(self.paths.home)
        if roots.get(str(self.root)) == self.app:
            return
        write_atomically(self.paths.home / _ROOTS, json.dumps(roots | {str(self.root): self.app}, indent=1))


def open_surroundings(root: Path, name: str | None, *, app: str = "", sources: bool = False) -> Surroundings:
    """The environment `name` of the app in `root` (or of `app`, wherever one stands); `sources`: they must be there.

    Raises UsageError without a name, for an unknown one, and where it can't be told which app is meant.
    """
    home = state_home()
    if sources and not _has_sources(root):
        raise UsageError(
            f"there is no repository in {root} to release",
            details=_what_can_be_done_without(home, root, name),
            next_step="go to the repository of your service, and type the same there",
        )
    if app or not _has_sources(root):
        app = app or _app_of_root(home, root)
        if not name:
            raise missing_environment(_environments_on_record(home, app))
        paths = StatePaths(home, app, name)
        if not paths.root.is_dir():
            raise UsageError(
                f"nothing was ever released of {app} to {name!r} on this machine",
                details=[f"on record: {', '.join(_environments_on_record(home, app)) or 'nothing'}"],
                next_step="go to the repository and type: invoke release --env " + name,
            )
        return Surroundings(root, app, name, paths, None, None)
    loaded = load(root)
    if not name:
        raise missing_environment(sorted(loaded.settings.environments))
    environment = loaded.environment(name)
    settings = loaded.settings
    return Surroundings(root, settings.app, name, StatePaths(home, settings.app, name), loaded, environment)


def value_of(around: Surroundings, variable: str) -> str:
    """A variable of the kit's own, from the process's environment or `.env.<environment>`; empty: it has no value."""
    from deploykit.credentials.dotenv import read

    if given := os.environ.get(variable):
        return given
    file = around.root / f".env.{around.name}"
    entry = read(file).get(variable) if file.is_file() else None
    return (entry.value or "") if entry is not None else ""


def _what_can_be_done_without(home: Path, root: Path, name: str | None) -> list[str]:
    """For a folder whose sources are gone and whose releases are not."""
    known = _roots(home).get(str(root))
    if known is None or name not in _environments_on_record(home, known):
        return []
    return [f"what was released of {known} can be rolled back from here: invoke rollback --env {name}"]


def missing_environment(names: list[str]) -> UsageError:
    return UsageError(
        "say which environment: there is no default one",
        details=[f"environments here: {', '.join(names)}"] if names else [],
        next_step=f"add --env {names[0] if len(names) == 1 else 'local'}",
    )


def not_yet(name: str, target: str) -> UsageError:
    return UsageError(
        f"environment {name!r} is on the target {target!r}, which this version of the kit can't release to yet",
        details=["the targets 'process' (this very machine) and 'docker' (an engine, here or elsewhere) work so far"],
        next_step='invoke release --env local, or set target = "docker" for this environment',
    )


def _has_sources(root: Path) -> bool:
    return any((root / name).exists() for name in ("pyproject.toml", "tasks.py", ".git", "setup.cfg", "setup.py"))


def _roots(home: Path) -> dict[str, str]:
    try:
        content = json.loads((home / _ROOTS).read_text())
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in content.items()} if isinstance(content, dict) else {}


def _app_of_root(home: Path, root: Path) -> str:
    if app := _roots(home).get(str(root)):
        return app
    apps = sorted(path.name for path in (home / "apps").glob("*") if path.is_dir())
    raise UsageError(
        f"there is no repository in {root}, and nothing was ever released from here",
        details=[f"apps on this machine: {', '.join(apps)}"] if apps else [],
        next_step=f"add --app {apps[0]}" if apps else "go to the repository of your service",
    )


def _environments_on_record(home: Path, app: str) -> list[str]:
    return sorted(path.name for path in (home / "apps" / app).glob("*") if path.is_dir())
