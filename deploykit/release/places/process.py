"""The target `process`: the service runs on this very machine, under the kit's supervisor, behind its own HAProxy."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from deploykit.artifacts.store import Store
from deploykit.model import Problem, Secret, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from deploykit.artifacts.local import BuildStep
    from deploykit.edge.interface import Edge
    from deploykit.release.build import Sources
    from deploykit.release.instances import RunnableArtifact
    from deploykit.release.surroundings import Surroundings
    from deploykit.targets.interface import Target

__all__ = ["ProcessPlace"]


class ProcessPlace:
    """Implements `Place`. Its artefact is a folder of the store, its own virtual environment beside it."""

    kind = "process"
    shared = False

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    @cached_property
    def target(self) -> Target:
        from deploykit.targets.process import ProcessTarget

        around = self._around
        public = urlsplit(self.edge.url()).port
        return ProcessTarget(
            around.app,
            around.name,
            around.paths,
            around.supervisor,
            avoid=(public,) if public else (),
            wait=around.cancellation.wait,
        )

    @cached_property
    def edge(self) -> Edge:
        from deploykit.edge.haproxy import HAProxyEdge

        around = self._around
        settings = around.loaded.settings if around.loaded is not None else None
        return HAProxyEdge(
            around.app,
            around.name,
            around.paths.edge,
            around.environment.port if around.environment is not None else None,
            around.supervisor,
            parts=around.paths.parts,
            binary=settings.haproxy if settings is not None else "",
            health_path=settings.service.health if settings is not None else "",
            wait=around.cancellation.wait,
        )

    def keeper(self) -> str:
        pid = self._around.supervisor.pid()
        return f"pid {pid}" if pid else ""

    def argv(self, command: tuple[str, ...]) -> tuple[str, ...]:
        if command or self._around.loaded is None:
            return command
        return self._around.loaded.require_command()

    def build(self, sources: Sources, note: list[str]) -> Mapping[str, Any]:
        from deploykit.artifacts.local import build_local  # not needed by a rollback, which is in a hurry

        around = self._around
        steps: list[BuildStep] = []
        started = time.monotonic()
        artifact = build_local(
            around.root,
            sources.tree,
            store=around.paths.artifacts,
            requirements=around.loaded.settings.service.requirements if around.loaded is not None else "",
            on_step=steps.append,
            on_wait=note.append,
            wait=around.cancellation.wait,
        )
        said = "; ".join(f"{step.name} {step.note}" for step in steps if step.name in {"environment", "store"})
        return {
            "digest": artifact.digest,
            "version": artifact.version,
            "seconds": round(time.monotonic() - started, 3),
            "note": said,
            "steps": {step.name: round(step.seconds, 3) for step in steps},
            "notes": list(artifact.notes),
        }

    def load(self, digest: str) -> RunnableArtifact:
        if not digest:
            raise UsageError("that release has no artefact", next_step=f"invoke history --env {self._around.name}")
        return Store(self._around.paths.artifacts).load(digest)

    def preflight(self) -> Sequence[Problem]:
        return ()

    def ensure_accessories(self, values: Mapping[str, str | Secret], tell: Callable[[str], None]) -> Sequence[str]:  # noqa: ARG002
        """Processes have none: an embedded PostgreSQL is the database's own setting."""
        return ()

    def accessories(self) -> Sequence[Mapping[str, Any]]:
        return ()

    def prune(self, needed: Collection[str]) -> Sequence[str]:  # noqa: ARG002 - the store is shared by all apps and environments
        return ()
