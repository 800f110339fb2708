"""The target `docker`: the service runs in containers of one engine, here or on a host reached by ssh or TCP."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import time
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.artifacts.image.image import APP_LABEL
from deploykit.artifacts.persistent import is_file_name
from deploykit.model import DeploykitError, Problem, Secret, UsageError
from deploykit.process.docker import Engine, EngineError
from deploykit.release.hosting.written import Written, are_data
from deploykit.release.version.instances import WEB

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from deploykit.artifacts.git_tree import GitTree
    from deploykit.artifacts.image.engine import Docker
    from deploykit.artifacts.image.image import Image
    from deploykit.edge.interface import Edge
    from deploykit.model import ReleaseRecord
    from deploykit.process.cancellation import Cancellation
    from deploykit.release.hosting.saved import SavedTarget
    from deploykit.release.version.repository import Repository
    from deploykit.release.version.sources import Sources
    from deploykit.settings.models import Settings
    from deploykit.settings.paths import StatePaths
    from deploykit.targets.docker import Accessory, DockerTarget
    from deploykit.targets.interface import Target

__all__ = ["DockerHosting", "ImageArtifact"]

_KEPT = "deploykit-kept"
"""Images with a tag `deploykit-kept/APP:ENVIRONMENT.…` are needed by that environment; `.next` is about to be
started.
"""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_VERSION_LABEL = "org.opencontainers.image.version"


@dataclass(frozen=True, kw_only=True)
class ImageArtifact:
    """An image as what a release runs. `digest` is the registry's once it was pushed, else the image's id.

    `image` is its id on the engine. Paths are the container's.
    """

    digest: str
    version: str
    image: str
    tree: Path
    python: Path = Path("python3")

    def variables(self, _path: str) -> Mapping[str, str]:
        """The image says them itself."""
        return {}


def _digests(image: Mapping[str, Any]) -> set[str]:
    """The registries' digests of it."""
    return {name.rpartition("@")[2] for name in image.get("RepoDigests") or ()}


def _secret(value: str | Secret) -> Secret:
    return value if isinstance(value, Secret) else Secret(value)


class DockerHosting:
    """Implements `Hosting`. `saved` says where the engine is and how the edge was made."""

    kind = "docker"
    shared = True

    def __init__(
        self, paths: StatePaths, repository: Repository | None, saved: SavedTarget, cancellation: Cancellation
    ) -> None:
        self._paths = paths
        self._app, self._environment = paths.app, paths.environment
        self._repository = repository
        self._saved = saved
        self._cancellation = cancellation
        self._engine = Engine(saved.host)

    @property
    def target(self) -> Target:
        return self._docker_target

    @cached_property
    def _docker_target(self) -> DockerTarget:
        from deploykit.targets.docker import DockerTarget, Limits

        options: dict[str, Any] = {}
        if self._repository is not None:
            docker = self._repository.settings.docker
            limits = Limits(memory=docker.memory_mb << 20, cpus=docker.cpus, pids=docker.pids)
            names = (WEB, *self._repository.settings.processes)
            options = {"limits": dict.fromkeys(names, limits)}
        return DockerTarget(
            self._app,
            self._environment,
            self._engine,
            port=self._saved.image_port,
            volumes=self._saved.volumes,
            networks=self._saved.networks,
            capabilities=self._saved.capabilities,
            wait=self._cancellation.wait,
            **options,
        )

    def app_user(self, _wanted: str, _warn: Callable[[str], None]) -> str:
        """The image says it."""
        return ""

    def ensure_accessories(self, values: Mapping[str, str | Secret], warn: Callable[[str], None]) -> Sequence[str]:
        from deploykit.credentials import Redactor

        wanted = self._wanted(values)
        given = [value for accessory in wanted for value in accessory.variables.values() if isinstance(value, Secret)]
        try:
            return [self._docker_target.ensure_accessory(accessory, warn) for accessory in wanted]
        except DeploykitError as error:
            # It may print what it was given, and its last lines are among the details.
            redact = Redactor(given)
            error.details = tuple(redact(line) for line in error.details)
            raise

    def accessories(self) -> Sequence[Mapping[str, Any]]:
        return [asdict(state) for state in self._docker_target.accessories()]

    def preflight(self) -> Sequence[Problem]:
        """Accessories whose images are not on the engine, and single files that are to outlive a version."""
        return [*self._single_files(), *self._missing_images()]

    def _single_files(self) -> list[Problem]:
        """A volume is a folder. A file alone would be without what is written beside it, such as SQLite's journal."""
        persistent = self._repository.settings.service.persistent if self._repository is not None else ()
        root = self._repository.root if self._repository is not None else Path()
        return [
            Problem(
                f"service.persistent names the file {path}, and on Docker only a folder can outlive a version",
                "let the app write it into a folder of its own, such as var/, and name that",
            )
            for path in persistent
            if (root / path).is_file() or (is_file_name(path) and not (root / path).is_dir())
        ]

    def _missing_images(self) -> Sequence[Problem]:
        if not (wanted := self._wanted({})) or self._engine.problem() is not None:
            return ()
        return [
            Problem(
                f"the engine at {self._engine.host} does not have the image {image} of an accessory",
                f"docker pull {shlex.quote(image)}",
            )
            for image in self._docker_target.missing_images(wanted)
        ]

    def _wanted(self, values: Mapping[str, str | Secret]) -> list[Accessory]:
        """The accessories that the settings name for this environment; none where the sources are gone."""
        from deploykit.release.version.gather import accessories_of
        from deploykit.targets.docker import Accessory, Limits

        if self._repository is None:
            return []
        return [
            Accessory(
                name=name,
                image=wanted.image,
                folder=wanted.folder,
                argv=tuple(shlex.split(wanted.command)),
                variables={
                    **wanted.variables,
                    **{each: _secret(values[each]) for each in wanted.secrets if each in values},
                },
                health=tuple(shlex.split(wanted.health)),
                start_timeout=wanted.start_timeout,
                limits=Limits(memory=wanted.memory_mb << 20, cpus=wanted.cpus),
                capabilities=wanted.capabilities,
            )
            for name, wanted in accessories_of(self._repository).items()
        ]

    @cached_property
    def edge(self) -> Edge:
        from deploykit.edge.docker import DockerEdge
        from deploykit.targets.docker import network_of

        saved = self._saved
        return DockerEdge(
            self._app,
            self._environment,
            self._paths.edge,
            saved.port,
            self._engine,
            network=network_of(self._app, self._environment),
            image=saved.edge_image,
            options=saved.edge_options,
            bind=saved.bind,
            wait=self._cancellation.wait,
        )

    def supervised_by(self) -> str:
        return f"Docker Engine at {self._engine.host}" if self._engine.problem() is None else ""

    def argv(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """The image's own command where the repository brings its Dockerfile and sets none; else the settings', so that
        it listens where the edge can reach it.
        """
        from deploykit.artifacts.image.dockerfile import container_argv, find_own

        repository = self._repository
        if repository is None:
            return command
        own = find_own(repository.root, repository.settings.image.dockerfile)
        if own is not None and not repository.loaded.is_set("service.command"):
            return ()
        return container_argv(command or repository.require_command(), repository.settings.image.port)

    # ---- data in the tree

    def written(self, release: ReleaseRecord | None) -> Written:
        of = [each.name for each in self.target.instances() if release is None or each.labels.release == release.id]
        found = {name: are_data(self._docker_target.written(name)) for name in of}
        files = sorted({file for names in found.values() for file in names})
        places = [f"{self._app}.{self._environment}.{name}" for name, names in found.items() if names]
        return Written(files=tuple(files), place=" and ".join(f"the container {place}" for place in places))

    def data_place(self, path: str) -> str:
        return "a volume" if self._docker_target.has_data(path) else ""

    def take_along(self, place: str, paths: Sequence[str]) -> str:
        return f"docker cp takes {', '.join(paths)} out of {place}, and into the new one after its release"

    # ---- the image

    def build(self, sources: Sources, note: list[str]) -> Mapping[str, Any]:
        """Build the image, and push it where a registry is set."""
        if self._repository is None:
            raise UsageError("there are no sources to build", next_step=f"invoke release --env {self._environment}")
        settings = self._repository.settings
        from deploykit.artifacts.image.engine import find_docker
        from deploykit.artifacts.image.names import parse_repository
        from deploykit.artifacts.image.plan import tags_of
        from deploykit.artifacts.image.push import push

        started = time.monotonic()
        wanted = settings.image
        host = self._saved.host
        docker = find_docker(environ={**os.environ, **({"DOCKER_HOST": host} if host else {})})
        docker = replace(docker, api=self._engine)
        plan = tags_of(sources.tree, main_branch=wanted.main_branch, short=wanted.short_tags)
        image = self._image(sources.tree, settings, docker, plan.names)
        built = time.monotonic() - started
        self._engine.tag(image.id, f"{_KEPT}/{self._app}:{self._environment}.next")
        digest, said = image.id, "kept on the engine: no registry is set"
        if wanted.repository:
            repository = parse_repository(wanted.repository)
            pushed = push(
                docker,
                image.id,
                repository,
                plan.tags,
                insecure=wanted.insecure,
                token_host=wanted.token_host,
                cancellation=self._cancellation,
                sleep=self._cancellation.wait,
                note=note.append,
            )
            digest = pushed.digest
            said = f"pushed to {wanted.repository}"
        return {
            "digest": digest,
            "version": image.version,
            "id": image.id,
            "seconds": round(time.monotonic() - started, 3),
            "steps": {"image": round(built, 3), "push": round(time.monotonic() - started - built, 3)},
            "note": ", ".join(
                filter(None, [f"image {'found' if image.reused else 'built'}", said, sources.tree.left_out_note])
            ),
            "notes": list(image.warnings),
        }

    def _image(self, tree: GitTree, settings: Settings, docker: Docker, names: Sequence[str]) -> Image:
        from deploykit.artifacts.image.build import build_image
        from deploykit.artifacts.image.plan import recipe_of
        from deploykit.artifacts.layout import resolutions

        kept = resolutions(self._paths.artifacts)
        return build_image(tree, recipe_of(settings), kept=kept, docker=docker, local_tags=names)

    def load(self, digest: str) -> ImageArtifact:
        """An image of this app alone: a ledger could name any other that is on the engine, by any name."""
        found = self._find_image(digest) if _DIGEST.fullmatch(digest) else None
        labels = ((found or {}).get("Config") or {}).get("Labels") or {}
        if found is None or labels.get(APP_LABEL) != self._app:
            where = self._repository.settings.image.repository if self._repository is not None else ""
            raise DeploykitError(
                f"the engine at {self._engine.host} does not have the image {digest[:19] or 'of that release'} of"
                f" {self._app} any more",
                next_step=(
                    f"docker pull {shlex.quote(f'{where}@{digest}')}"
                    if where
                    else f"invoke release --env {self._environment}"
                ),
            )
        config = found.get("Config") or {}
        return ImageArtifact(
            digest=digest,
            version=labels.get(_VERSION_LABEL, ""),
            image=found["Id"],
            tree=Path(config.get("WorkingDir") or "/"),
        )

    def _find_image(self, digest: str) -> dict[str, Any] | None:
        """The image by its id, or by a registry's digest: that of the settings first, since the engine knows it by
        name.
        """
        repository = self._repository.settings.image.repository if self._repository is not None else ""
        with contextlib.suppress(EngineError):  # a repository that is none: in an incident the settings may be anything
            if repository and (named := self._engine.find_image(f"{repository}@{digest}")) is not None:
                return named
        if (found := self._engine.find_image(digest)) is not None:
            return found
        for each in self._images():
            if digest in _digests(each):
                return self._engine.find_image(each["Id"])
        return None

    def keep(self, digest: str) -> None:
        """Nothing is to be done: what was built has a tag, and the engine does not remove what runs."""

    def prune(self, needed: Collection[str]) -> Sequence[str]:
        """Old images of this app on the engine (setting `image.keep`). What runs anywhere on it is needed, too, and
        what other environments need there: they say so by tags.
        """
        from deploykit.artifacts.image.retention import StoredImage, removable

        if self._repository is None:
            return ()
        keep = self._repository.settings.image.keep
        self._keep(needed)
        found = self._images()
        if len(found) <= keep:
            return ()
        running = {each["ImageID"] for each in self._engine.containers({"deploykit.app": self._app})}
        wanted = {each["Id"] for each in found if any(tag.startswith(f"{_KEPT}/") for tag in each["RepoTags"] or ())}
        images = [
            StoredImage(id=each["Id"], digests=frozenset({each["Id"], *_digests(each)}), created=float(each["Created"]))
            for each in found
        ]
        removed = removable(images, needed={*needed, *running, *wanted}, keep=keep)
        done = []
        for image in removed:
            try:
                self._engine.remove_image(image.id, force=True)
            except EngineError as error:
                done.append(f"image {image.id[:19]} stays: {error.message}")
            else:
                done.append(f"image {image.id[:19]} was removed: {len(images) - len(removed)} newer ones are kept")
        return done

    def _images(self) -> list[dict[str, Any]]:
        return self._engine.images(f"{APP_LABEL}={self._app}")

    def _keep(self, needed: Collection[str]) -> None:
        """Tag what this environment needs, and take the tags from what it no longer does."""
        repository, name = f"{_KEPT}/{self._app}", self._environment
        found = self._images()
        keys = {each["Id"]: {each["Id"], *_digests(each)} for each in found}
        tagged = {each["Id"]: set(each["RepoTags"] or ()) for each in found}
        present = {tag for each in found for tag in each["RepoTags"] or () if tag.startswith(f"{repository}:{name}.")}
        for image in (key for key, digests in keys.items() if digests & set(needed)):
            tag = f"{name}.{image.rpartition(':')[2][:12]}"
            if f"{repository}:{tag}" in tagged[image]:
                present.discard(f"{repository}:{tag}")
            else:
                self._engine.tag(image, f"{repository}:{tag}")
        for stale in present - {f"{repository}:{name}.next"}:
            self._engine.remove_image(stale)
