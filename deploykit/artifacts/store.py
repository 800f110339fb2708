"""The store of artefacts: found by digest, kept while they are referenced, safe for several processes at once.

artifacts/<hex>/      an artefact; renamed into place as a whole
environments/<…>/     virtual environments, shared; complete once their last file is there
builders/<…>/         virtual environments of build systems
builds/<key>          the digest that was built from these inputs
resolutions/<key>     versions that were resolved for requirements without hashes
references/<owner>    the digests that an owner (an app in an environment) may still run
temporary/<name>/     builds under way, each with a lock that its builder holds
locks/                lock files
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import time
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.artifacts.artifact import MANIFEST, Artifact
from deploykit.artifacts.environment import discard, usable
from deploykit.artifacts.files import remove
from deploykit.artifacts.layout import resolutions
from deploykit.model import DeploykitError
from deploykit.process.files import flocked, try_flock, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

__all__ = ["Store"]

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_HOUR = 3600.0


@dataclass(frozen=True)
class Store:
    """The store in the folder `root` (`StatePaths.artifacts`). Nothing is made before it is needed."""

    root: Path

    @property
    def artifacts_folder(self) -> Path:
        return self.root / "artifacts"

    @property
    def environments(self) -> Path:
        return self.root / "environments"

    @property
    def builders(self) -> Path:
        return self.root / "builders"

    @property
    def resolutions(self) -> Path:
        return resolutions(self.root)

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def builds(self) -> Path:
        return self.root / "builds"

    @property
    def _temporary(self) -> Path:
        return self.root / "temporary"

    @property
    def _references(self) -> Path:
        return self.root / "references"

    def folder(self, digest: str) -> Path:
        """Where the artefact of that digest is or would be. Raises DeploykitError for what is no digest."""
        match = _DIGEST.fullmatch(digest)
        if match is None:
            raise DeploykitError(f"{digest!r} is not the digest of an artefact (sha256: and 64 hex digits)")
        return self.artifacts_folder / match[1]

    def exists(self, digest: str) -> bool:
        """Whether the artefact can be run: it, its environment and the interpreter behind it are there."""
        try:
            self.load(digest)
        except DeploykitError:
            return False
        return True

    def load(self, digest: str) -> Artifact:
        """The artefact of that digest. Raises DeploykitError when it is gone or can't run any more."""
        folder = self.folder(digest)
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise DeploykitError(
                f"artefact {digest[:19]} is not in the store",
                details=[f"looked in {self.artifacts_folder}"],
                next_step="check its commit out and build it again: invoke build",
            ) from error
        artifact = Artifact.from_manifest(manifest, folder, self.environments)
        if not usable(artifact.environment):
            raise DeploykitError(
                f"the environment of artefact {digest[:19]} is gone, or the Python {artifact.python_version} behind it",
                details=[str(artifact.environment)],
                next_step="check its commit out and build it again: invoke build",
            )
        return artifact

    def list(self) -> Sequence[Artifact]:
        """All artefacts that can be run, the one used last first."""
        found = []
        for folder in self.artifacts_folder.glob("*"):
            with contextlib.suppress(DeploykitError, OSError):
                found.append((_used(folder), folder.name, self.load(f"sha256:{folder.name}")))
        return [artifact for _, _, artifact in sorted(found, key=lambda entry: entry[:2], reverse=True)]

    def built(self, key: str) -> Artifact | None:
        """The artefact that was built from the inputs of that key, if it is still there; counts as a use of it."""
        try:
            artifact = self.load((self.builds / key).read_text(encoding="utf-8").strip())
        except (FileNotFoundError, DeploykitError):
            return None
        os.utime(artifact.folder)
        return artifact

    def remember(self, key: str, digest: str) -> None:
        write_atomically(self.builds / key, f"{digest}\n", durable=True)

    @contextlib.contextmanager
    def temporary(self) -> Iterator[Path]:
        """A new folder for one build, removed afterwards; if the process is killed, by the next build."""
        self.clean()
        folder = self._temporary / secrets.token_hex(8)
        lock = folder.with_suffix(".lock")
        descriptor = try_flock(lock)
        if descriptor is None:  # pragma: no cover - 64 random bits taken
            raise DeploykitError("could not lock a temporary folder")
        try:
            folder.mkdir()
            yield folder
        finally:
            remove(folder)
            lock.unlink(missing_ok=True)
            os.close(descriptor)

    def clean(self) -> None:
        """Remove what builders left that do not live any more."""
        for lock in self._temporary.glob("*.lock"):
            descriptor = try_flock(lock)
            if descriptor is None:
                continue
            folder = lock.with_suffix("")
            remove(folder)
            if not folder.exists():
                lock.unlink(missing_ok=True)
            os.close(descriptor)

    @contextlib.contextmanager
    def building(self, wait: Callable[[float], None] = time.sleep) -> Iterator[None]:
        """Held while an artefact is built, so that nothing it needs is pruned meanwhile; `wait` sleeps
        until it can be. From then on nobody gets into the store but its owner, and those in its group whom a target has
        put there.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.root.stat().st_mode & 0o007:
            self.root.chmod(0o700)
        with flocked(self.locks / "store", shared=True, wait=wait):
            yield

    def keep(self, digest: str, *, owner: str) -> None:
        """From now on `owner` (say `myapp/local`) may run that artefact, until it prunes without it."""
        kept = self._kept_by(owner)
        if digest not in kept:
            write_atomically(self._reference(owner), "\n".join(sorted({*kept, digest})), durable=True)

    def prune(
        self,
        keep: Collection[str],
        *,
        owner: str,
        min_age: float = _HOUR,
        now: Callable[[], float] = time.time,
    ) -> Sequence[str]:
        """Remove unreferenced artefacts, and environments that no artefact needs; returns the removed digests.

        `keep` are the digests that `owner` may still run: they replace what this owner kept before. What other owners
        keep stays, and so does what was built or used less than `min_age` seconds ago: a release that has just built it
        may not have been recorded yet. While something is being built nothing is removed: the next time it is.
        """
        write_atomically(self._reference(owner), "\n".join(sorted(keep)), durable=True)
        alone = try_flock(self.locks / "store")
        if alone is None:
            return ()
        try:
            return self._remove_unneeded(now() - min_age)
        finally:
            os.close(alone)

    def _remove_unneeded(self, oldest: float) -> Sequence[str]:
        removed = []
        kept: set[str] = set()
        for path in self._references.glob("[!.]*"):
            kept.update(path.read_text(encoding="utf-8").split())
        for folder in sorted(self.artifacts_folder.glob("*")):
            digest = f"sha256:{folder.name}"
            if digest not in kept and _used(folder) < oldest:
                self._discard(folder)
                removed.append(digest)
        self._prune_environments(oldest)
        for build in self.builds.glob("[!.]*"):
            if not self.folder(build.read_text(encoding="utf-8").strip()).exists():
                build.unlink()
        self.clean()
        return removed

    def _reference(self, owner: str) -> Path:
        return self._references / urllib.parse.quote(owner, safe="")

    def _kept_by(self, owner: str) -> set[str]:
        try:
            return set(self._reference(owner).read_text(encoding="utf-8").split())
        except FileNotFoundError:
            return set()

    def _prune_environments(self, oldest: float) -> None:
        needed = set()
        for folder in self.artifacts_folder.glob("*"):
            with contextlib.suppress(FileNotFoundError):
                needed.add(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["environment"])
        for environment in self.environments.glob("*"):
            # No build runs at the same time, so an incomplete environment was left by a killed build.
            if environment.name not in needed and (not usable(environment) or _used(environment) < oldest):
                discard(environment)
        for builder in self.builders.glob("*"):
            if not usable(builder):
                discard(builder)

    def _discard(self, folder: Path) -> None:
        """Take an artefact out of the store at once, then remove its files."""
        away = self._temporary / f"{folder.name[:16]}-{secrets.token_hex(4)}"
        self._temporary.mkdir(parents=True, exist_ok=True)
        away.with_suffix(".lock").touch()
        folder.chmod(0o700)
        folder.rename(away)
        remove(away)
        if not away.exists():
            away.with_suffix(".lock").unlink()

    def put(self, folder: Path, digest: str) -> Path:
        """Make the finished folder the artefact of that digest; one that is there and can run stays as it is."""
        final = self.folder(digest)
        self.artifacts_folder.mkdir(parents=True, exist_ok=True)
        with flocked(self.locks / "put"):
            if final.exists():
                if self.exists(digest):
                    os.utime(final)
                    return final
                self._discard(final)
            folder.rename(final)
        final.chmod(0o555)
        return final


def _used(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0
