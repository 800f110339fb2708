"""The sources of a release: the tree, how it is run, and the application's values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.artifacts.git import read_tree
from deploykit.artifacts.refused_content import reject_tracked_secrets
from deploykit.artifacts.version import version_of
from deploykit.release.version.gather import gather_values
from deploykit.release.version.spec import ReleaseSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deploykit.artifacts.git_tree import GitTree
    from deploykit.model import Secret
    from deploykit.release.version.repository import Repository

__all__ = ["Sources", "read_sources"]


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What is about to be released: the tree, its version, how it is run, and the application's values."""

    tree: GitTree
    version: str
    spec: ReleaseSpec
    values: Mapping[str, str | Secret]
    warnings: tuple[str, ...]


def read_sources(
    repository: Repository, argv: tuple[str, ...], values_folder: Path, *, user: str = "", make: bool = True
) -> Sources:
    """Read the repository. `argv` starts the service, as `user`; `make`: generate values that are still missing.

    Raises UsageError where it can't be released: no git, no command, values that are missing, secrets in git.
    """
    tree = read_tree(repository.root)
    reject_tracked_secrets(tree.secrets)
    spec = ReleaseSpec.from_settings(repository.settings, repository.name, argv, user=user)
    values, warnings = gather_values(repository, spec, values_folder, make=make)
    return Sources(tree=tree, version=version_of(tree), spec=spec, values=values, warnings=(*tree.warnings, *warnings))
