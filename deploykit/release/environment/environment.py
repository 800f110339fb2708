"""One app in one environment, put together once at the top of a command, from the settings or from what was saved of
them.
"""

from __future__ import annotations

import os
import weakref
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from deploykit.model import Secret
from deploykit.model.errors import UsageError
from deploykit.process.cancellation import Cancellation
from deploykit.release.environment import known_apps
from deploykit.release.environment.checkout import Checkout
from deploykit.release.hosting.saved import SavedTarget
from deploykit.release.version.repository import Repository
from deploykit.release.version.values import read_values
from deploykit.settings.loader import load
from deploykit.settings.paths import StatePaths, state_home

if TYPE_CHECKING:
    from pathlib import Path

    from deploykit.edge.interface import Edge
    from deploykit.ledger.sql import SqlLedger
    from deploykit.process.supervisor.client import Supervisor
    from deploykit.release.hosting.base import Hosting
    from deploykit.targets.embedded import EmbeddedPostgres
    from deploykit.targets.interface import Target

__all__ = ["Environment", "open_environment"]


@dataclass(frozen=True)
class Environment:
    """One app in one environment. Hosting, ledger and database are opened when they are first used.

    `repository` is None where its folder is gone: what runs can still be looked at, rolled back and stopped.
    """

    root: Path
    paths: StatePaths
    repository: Repository | None
    cancellation: Cancellation = field(default_factory=Cancellation, repr=False)
    """Cancels the command that works on the environment."""
    compares: bool = True
    """Whether ledger and target are refused where they belong to another repository."""

    @property
    def app(self) -> str:
        return self.paths.app

    @property
    def name(self) -> str:
        return self.paths.environment

    @cached_property
    def saved(self) -> SavedTarget:
        """Where target, edge and ledger are: by the settings, or as saved while the sources were still there."""
        if self.repository is None:
            return SavedTarget.load(self.paths.root)
        return SavedTarget.from_settings(self.repository)

    @cached_property
    def supervisor(self) -> Supervisor:
        from deploykit.process.supervisor.client import Supervisor

        return Supervisor(self.paths.supervisor)

    @cached_property
    def hosting(self) -> Hosting:
        """Raises UsageError for a kind of target that is not built yet."""
        if self.saved.target == "process":
            from deploykit.release.hosting.local import LocalHosting

            return LocalHosting(self.paths, self.repository, self.supervisor, self.cancellation)
        if self.saved.target == "docker":
            from deploykit.release.hosting.docker import DockerHosting

            return DockerHosting(self.paths, self.repository, self.saved, self.cancellation)
        raise UsageError(
            f"environment {self.name!r} is on the target {self.saved.target!r}, which this version of the kit can't"
            " release to yet",
            details=[
                "the targets 'process' (this very machine) and 'docker' (an engine, here or elsewhere) work so far"
            ],
            next_step='invoke release --env local, or set target = "docker" for this environment',
        )

    @cached_property
    def checkout(self) -> Checkout:
        return Checkout(self.root, self.paths)

    @cached_property
    def target(self) -> Target:
        """Raises UsageError where it belongs to another repository."""
        target = self.hosting.target
        if self.compares and self.repository is not None:
            self.checkout.reject_others(target.repositories(), used=False)
        return target

    @property
    def edge(self) -> Edge:
        return self.hosting.edge

    @cached_property
    def database(self) -> EmbeddedPostgres:
        from deploykit.targets.embedded import EmbeddedPostgres

        return EmbeddedPostgres(self.paths, self.supervisor, wait=self.cancellation.wait)

    @cached_property
    def ledger(self) -> SqlLedger:
        """Raises UsageError where it belongs to another repository."""
        from deploykit.ledger.sql import open_ledger

        ledger = open_ledger(self._ledger_location(), app=self.app, environment=self.name)
        weakref.finalize(self, ledger.close)  # at the end of a command at the latest: SQLite then leaves one file
        if self.compares and self.repository is not None:
            kept = ledger.repositories()
            self.checkout.reject_others(kept, used=not kept and bool(ledger.releases(limit=1)))
        return ledger

    def _ledger_location(self) -> str:
        kind, _, variable = self.saved.ledger.partition(":")
        if kind != "env":
            return str(self.paths.ledger)
        if url := self.variable(variable):
            return url
        raise UsageError(
            f"it is not known where the ledger is: the variable {variable} has no value",
            details=[f"{self.repository.locate('ledger')} says env:{variable}"] if self.repository else [],
            next_step=f"put {variable}=postgresql://… into .env.{self.name}, or export it",
        )

    def variable(self, name: str) -> str:
        """A variable from the process's environment, `.env.<environment>`, or what was generated for the environment;
        empty: it has no value.
        """
        from deploykit.credentials.dotenv import read

        if given := os.environ.get(name):
            return given
        file = self.root / f".env.{self.name}"
        entry = read(file).get(name) if file.is_file() else None
        if entry is not None and entry.value:
            return entry.value
        generated = read_values(self.paths.values, "generated").get(name, "")
        return generated.reveal() if isinstance(generated, Secret) else generated

    def require_repository(self) -> Repository:
        """The sources. Raises UsageError where there are none."""
        if self.repository is None:
            raise UsageError(
                f"there is no repository in {self.root} to release",
                next_step="go to the repository of your service, and type the same there",
            )
        return self.repository

    def save_target(self) -> None:
        """Save what is needed to find all of this again from this folder when the sources are gone."""
        self.saved.save(self.paths.root)
        known_apps.add(self.paths.home, self.root, self.app)


def open_environment(root: Path, name: str | None, *, app: str = "", sources: bool = False) -> Environment:
    """The environment `name` of the app in `root`, or of `app`, wherever one is. `sources`: they must be there.

    Raises UsageError without a name, for an unknown one, and where it can't be known which app is meant.
    """
    home = state_home()
    has_sources = known_apps.has_sources(root)
    if sources and not has_sources:
        raise UsageError(
            f"there is no repository in {root} to release",
            details=known_apps.advice_without_sources(home, root, name),
            next_step="go to the repository of your service, and type the same there",
        )
    if app or not has_sources:
        app = app or known_apps.app_of(home, root)
        if not name:
            raise _missing_name(known_apps.environments_of(home, app))
        paths = StatePaths(home, app, name)
        if not paths.root.is_dir():
            raise UsageError(
                f"nothing was ever released of {app} to {name!r} on this machine",
                details=[f"there were releases to: {', '.join(known_apps.environments_of(home, app)) or 'nothing'}"],
                next_step="go to the repository and type: invoke release --env " + name,
            )
        return Environment(root, paths, None)
    loaded = load(root)
    if not name:
        raise _missing_name(sorted(loaded.settings.environments))
    loaded.environment(name)  # raises when it is not in the settings
    return Environment(root, StatePaths(home, loaded.settings.app, name), Repository(loaded, name))


def _missing_name(names: list[str]) -> UsageError:
    return UsageError(
        "say which environment: there is no default one",
        details=[f"environments here: {', '.join(names)}"] if names else [],
        next_step=f"add --env {names[0] if len(names) == 1 else 'local'}",
    )
