"""The target `process`: the service runs on this very machine, under the kit's supervisor, behind its own HAProxy."""

from __future__ import annotations

import os
import shlex
import time
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from deploykit.artifacts.artifact import MANIFEST
from deploykit.artifacts.persistent import make_data
from deploykit.artifacts.store import Store
from deploykit.model import Problem, ReleaseRecord, Secret, UsageError
from deploykit.release.hosting.app_user import app_user
from deploykit.release.hosting.saved import SavedTarget
from deploykit.release.hosting.written import Written, are_data, written_below

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from deploykit.artifacts.local import BuildStep
    from deploykit.edge.interface import Edge
    from deploykit.process.cancellation import Cancellation
    from deploykit.process.supervisor.client import Supervisor
    from deploykit.release.version.instances import RunnableArtifact
    from deploykit.release.version.repository import Repository
    from deploykit.release.version.sources import Sources
    from deploykit.settings.paths import StatePaths
    from deploykit.targets.interface import Target

__all__ = ["LocalHosting"]


class LocalHosting:
    """Implements `Hosting`. Its artefact is a folder of the store, with a virtual environment of its own."""

    kind = "process"
    shared = False

    def __init__(
        self,
        paths: StatePaths,
        repository: Repository | None,
        supervisor: Supervisor,
        cancellation: Cancellation,
    ) -> None:
        self._paths = paths
        self._repository = repository
        self._supervisor = supervisor
        self._wait = cancellation.wait

    @cached_property
    def target(self) -> Target:
        from deploykit.targets.process import ProcessTarget

        public = urlsplit(self.edge.url()).port
        return ProcessTarget(
            self._paths.app,
            self._paths.environment,
            self._paths,
            self._supervisor,
            avoid=(public,) if public else (),
            wait=self._wait,
        )

    @cached_property
    def edge(self) -> Edge:
        from deploykit.edge.haproxy import HAProxyEdge

        repository = self._repository
        return HAProxyEdge(
            self._paths.app,
            self._paths.environment,
            self._paths.edge,
            repository.environment.port if repository is not None else None,
            self._supervisor,
            parts=self._paths.parts,
            binary=repository.settings.haproxy if repository is not None else "",
            options=SavedTarget.from_settings(repository).edge_options if repository is not None else None,
            wait=self._wait,
        )

    def supervised_by(self) -> str:
        pid = self._supervisor.pid()
        return f"pid {pid}" if pid else ""

    def argv(self, command: tuple[str, ...]) -> tuple[str, ...]:
        if command or self._repository is None:
            return command
        return self._repository.require_command()

    def app_user(self, wanted: str, warn: Callable[[str], None]) -> str:
        return app_user(wanted, self._paths, warn)

    def build(self, sources: Sources, note: list[str]) -> Mapping[str, Any]:
        from deploykit.artifacts.local import build_local  # not needed by a rollback, which is in a hurry

        steps: list[BuildStep] = []
        started = time.monotonic()
        artifact = build_local(
            sources.tree.root,
            sources.tree,
            store=self._paths.artifacts,
            requirements=self._repository.settings.service.requirements if self._repository is not None else "",
            persistent=sources.spec.persistent,
            data=self._paths.data,
            on_step=steps.append,
            on_wait=note.append,
            wait=self._wait,
        )
        said = [f"{step.name} {step.note}" for step in steps if step.name in {"environment", "store"}]
        return {
            "digest": artifact.digest,
            "version": artifact.version,
            "seconds": round(time.monotonic() - started, 3),
            "note": "; ".join(filter(None, [*said, sources.tree.left_out_note])),
            "steps": {step.name: round(step.seconds, 3) for step in steps},
            "notes": list(artifact.notes),
        }

    def load(self, digest: str) -> RunnableArtifact:
        if not digest:
            raise UsageError(
                "that release has no artefact", next_step=f"invoke history --env {self._paths.environment}"
            )
        artifact = Store(self._paths.artifacts).load(digest)
        if artifact.data is not None:
            make_data(artifact.folder, artifact.persistent, artifact.data)
        return artifact

    def preflight(self) -> Sequence[Problem]:
        return ()

    def ensure_accessories(self, values: Mapping[str, str | Secret], warn: Callable[[str], None]) -> Sequence[str]:  # noqa: ARG002
        """There are none here: an embedded PostgreSQL has a setting of its own."""
        return ()

    def accessories(self) -> Sequence[Mapping[str, Any]]:
        return ()

    def written(self, release: ReleaseRecord | None) -> Written:
        """Nothing for None: the trees are in the store."""
        store = Store(self._paths.artifacts)
        folder = store.folder(release.digest) if release is not None and release.digest else None
        if folder is None or not (folder / MANIFEST).exists():
            return Written(files=(), place="")
        made = (folder / MANIFEST).stat().st_mtime_ns
        names = [name for part in ("tree", "site") for name in written_below(folder / part, since=made)]
        return Written(files=tuple(are_data(names)), place=str(folder / "tree"))

    def data_place(self, path: str) -> str:
        return str(self._paths.data / path) if os.path.lexists(self._paths.data / path) else ""

    def take_along(self, place: str, paths: Sequence[str]) -> str:
        commands = [f"invoke down --env {self._paths.environment}"]
        for path in (PurePosixPath(each) for each in paths):
            source, folder = shlex.quote(f"{place}/{path}"), shlex.quote(str((self._paths.data / path).parent))
            beside = "" if Path(place, path).is_dir() else "*"  # SQLite's journal may hold what was written last
            commands += [f"mkdir -p {folder}", f"cp -a {source}{beside} {folder}"]
        return f"{' && '.join(commands)}, and release again"

    def keep(self, digest: str) -> None:
        Store(self._paths.artifacts).keep(digest, owner=self._owner)

    def prune(self, needed: Collection[str]) -> Sequence[str]:
        """Artefacts that no app and environment needs, and the virtual environments that no artefact does."""
        removed = Store(self._paths.artifacts).prune(needed, owner=self._owner)
        return [f"artefact {digest[:19]} was removed: no release that can be gone back to has it" for digest in removed]

    @property
    def _owner(self) -> str:
        """Who keeps artefacts in the store, which all apps and environments share."""
        return f"{self._paths.app}/{self._paths.environment}"
