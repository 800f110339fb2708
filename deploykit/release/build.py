"""The sources of a release and the artefact that is built from them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploykit.artifacts.git import GitTree, read_tree
from deploykit.artifacts.version import version_of
from deploykit.model import Secret, UsageError
from deploykit.release.gathering import gather_values
from deploykit.release.spec import ReleaseSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deploykit.release.instances import RunnableArtifact
    from deploykit.release.surroundings import Surroundings

__all__ = ["Sources", "build_artifact", "load_artifact", "process_commands", "read_sources"]


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What is about to be released: the tree, its version, how it is run, and the application's values."""

    tree: GitTree
    version: str
    spec: ReleaseSpec
    values: Mapping[str, str | Secret]
    warnings: tuple[str, ...]


def read_sources(around: Surroundings, *, make: bool = True) -> Sources:
    """Read the repository; `make` False: not even a generated value is made. Raises UsageError where it can't be released: no git, no command, values that are missing."""
    loaded, environment = around.loaded, around.environment
    if loaded is None or environment is None:
        raise UsageError(
            f"there is no repository in {around.root} to release",
            next_step="go to the repository of your service, and type the same there",
        )
    tree = read_tree(around.root)
    command = tuple(shlex.split(loaded.settings.service.command))
    spec = ReleaseSpec.from_settings(
        loaded.settings, around.name, environment, around.place.argv(command), process_commands(around)
    )
    values, warnings = gather_values(around, spec, make=make)
    return Sources(tree=tree, version=version_of(tree), spec=spec, values=values, warnings=(*tree.warnings, *warnings))


def process_commands(around: Surroundings) -> dict[str, tuple[str, ...]]:
    """The words that start what runs besides the service, by name."""
    processes = around.loaded.settings.processes if around.loaded is not None else {}
    return {name: tuple(shlex.split(process.command)) for name, process in processes.items()}


def build_artifact(around: Surroundings, sources: Sources | None, note: list[str]) -> dict[str, Any]:
    """Build the artefact of the sources, or find it built; returns its digest and what was done, for the journal."""
    if sources is None:
        raise UsageError("there are no sources to build", next_step=f"invoke release --env {around.name}")
    return dict(around.place.build(sources, note))


def load_artifact(around: Surroundings, digest: str) -> RunnableArtifact:
    """The artefact of that digest. Raises DeploykitError when it is gone or was changed."""
    return around.place.load(digest)
