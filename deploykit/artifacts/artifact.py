"""An artefact on disk: immutable, named by its content, complete without the checkout it came from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.artifacts.files import canonical, sha256
from deploykit.model import DeploykitError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FORMAT", "MANIFEST", "Artifact", "digest_of"]

FORMAT = 1
MANIFEST = "manifest.json"
_IDENTITY = ("format", "version", "tree", "site", "lock", "python", "platform")


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """What a release runs. `digest` is `sha256:` and 64 hex digits over version, tree hash, wheel content, lock,
    Python.

    `folder` holds `tree` (the exported sources: where migrations and files that the app reads at run time are), `site`
    (the project's wheel, installed; None when it is no package), the lock and the manifest. `environment` is a virtual
    environment shared with other artefacts; `python` is its interpreter, `python_version` complete (`3.11.7`).
    """

    digest: str
    version: str
    folder: Path
    environment: Path
    commit: str
    tree_hash: str
    python_version: str
    site: Path | None
    notes: tuple[str, ...] = ()
    persistent: tuple[str, ...] = ()
    """Paths in `tree` that are links into `data`."""
    data: Path | None = None
    image = ""
    """No container image: its processes run where this folder is."""

    @property
    def tree(self) -> Path:
        return self.folder / "tree"

    @property
    def lock(self) -> Path:
        """What the environment was made of (for a `pylock.toml`: its text)."""
        return self.folder / "requirements.lock"

    @property
    def python(self) -> Path:
        return self.environment / "bin" / "python"

    @property
    def bin_paths(self) -> tuple[Path, ...]:
        """Where the app's commands are, the project's own first."""
        own = (self.site / "bin",) if self.site is not None and (self.site / "bin").is_dir() else ()
        return (*own, self.environment / "bin")

    @property
    def pythonpath(self) -> tuple[Path, ...]:
        """Where Python finds the app: its installed wheel, then the tree (and its `src`, where it is no package)."""
        if self.site is not None:
            return (self.site, self.tree)
        source = self.tree / "src"
        return (self.tree, source) if source.is_dir() else (self.tree,)

    def program(self, name: str) -> Path | None:
        """The command of that name in `bin_paths`; None when the artefact has none."""
        return next((path / name for path in self.bin_paths if os.access(path / name, os.X_OK)), None)

    def variables(self, path: str = os.defpath) -> dict[str, str]:
        """The variables with which the app's processes are started; `path` is what follows on PATH."""
        return {
            "PATH": os.pathsep.join([*map(str, self.bin_paths), path]),
            "PYTHONPATH": os.pathsep.join(map(str, self.pythonpath)),
            "VIRTUAL_ENV": str(self.environment),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        }

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any], folder: Path, environments: Path) -> Artifact:
        """Raises DeploykitError when the manifest does not fit its own digest."""
        if digest_of(manifest) != manifest["digest"]:
            raise DeploykitError(
                f"the manifest of artefact {manifest['digest'][:19]} was changed after it was built",
                details=[str(folder / MANIFEST)],
            )
        return cls(
            digest=manifest["digest"],
            version=manifest["version"],
            folder=folder,
            environment=environments / manifest["environment"],
            commit=manifest["commit"],
            tree_hash=manifest["tree"],
            python_version=manifest["python"]["version"],
            site=folder / "site" if manifest["site"] else None,
            notes=tuple(manifest["notes"]),
            persistent=tuple(manifest["persistent"]["paths"]) if manifest.get("persistent") else (),
            data=Path(manifest["persistent"]["data"]) if manifest.get("persistent") else None,
        )


def digest_of(manifest: Mapping[str, Any]) -> str:
    """The digest over the part of a manifest that says what the artefact is, not when or where it was built; where it
    has links into the data of an environment, they are a part of it.
    """
    content = {name: manifest[name] for name in _IDENTITY}
    if manifest.get("persistent"):
        content["persistent"] = manifest["persistent"]
    return f"sha256:{sha256(canonical(content))}"
