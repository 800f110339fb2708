"""The target `docker`: the service runs in containers of one engine, here or on a host reached by ssh or TCP."""

from __future__ import annotations

import contextlib
import shlex
import time
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.model import DeploykitError, Secret, UsageError
from deploykit.process.ahead import Ahead
from deploykit.process.docker import Engine, EngineError
from deploykit.release.places.image_ahead import ImageAhead, Questions, docker_environment
from deploykit.release.places.image_beside import ImageBeside, Wanted, build_wanted, remember_wanted
from deploykit.release.places.interface import recall

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from deploykit.artifacts.git import GitTree
    from deploykit.artifacts.image.engine import Docker
    from deploykit.artifacts.image.image import Image
    from deploykit.artifacts.image.registry import Registry
    from deploykit.artifacts.image.tags import Tag
    from deploykit.edge.docker import DockerEdge
    from deploykit.edge.interface import Edge
    from deploykit.release.build import Sources
    from deploykit.release.places.interface import Remembered
    from deploykit.release.surroundings import Surroundings
    from deploykit.settings.models import Settings
    from deploykit.targets.docker import Accessory, DockerTarget
    from deploykit.targets.interface import Problem, Target

__all__ = ["DockerPlace", "ImageArtifact"]

_KEPT = "deploykit-kept"
"""Images with a tag `deploykit-kept/APP:ENVIRONMENT.…` are needed by that environment; `.next` is about to be started."""
_UNDERWAY = 0.5
"""Seconds that a command waits at most until the engine builds, before it goes on with what it has to import itself."""
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


def _reached(repository: str, environ: Mapping[str, str], *, insecure: bool) -> Registry:
    """The registry that is pushed to: connected, logged in, while the engine builds."""
    from deploykit.artifacts.image.names import parse_repository
    from deploykit.artifacts.image.push import reach

    registry = reach(parse_repository(repository), environ, insecure=insecure)
    registry.knock()
    return registry


def _secret(value: str | Secret) -> Secret:
    return value if isinstance(value, Secret) else Secret(value)


class DockerPlace:
    """Implements `Place`. `remembered` says where the engine is and how the edge was made."""

    kind = "docker"
    shared = True

    def __init__(self, around: Surroundings, remembered: Remembered) -> None:
        self._around = around
        self._remembered = remembered
        self._engine = Engine(remembered.host)
        self._begun: ImageAhead | ImageBeside | None = None
        self._registry: Ahead[Registry] | None = None
        self._connecting: Ahead[None] | None = None

    @property
    def target(self) -> Target:
        return self._docker_target

    @cached_property
    def _docker_target(self) -> DockerTarget:
        from deploykit.targets.docker import DockerTarget, Limits

        options: dict[str, Any] = {}
        if self._around.loaded is not None:
            docker = self._around.loaded.settings.docker
            limits = Limits(memory=docker.memory_mb << 20, cpus=docker.cpus, pids=docker.pids)
            names = ("web", *self._around.loaded.settings.processes)
            options = {"limits": dict.fromkeys(names, limits), "volumes": docker.volumes, "networks": docker.networks}
        return DockerTarget(
            self._around.app, self._around.name, self._engine, port=self._remembered.image_port, **options
        )

    def ensure_accessories(self, values: Mapping[str, str | Secret], tell: Callable[[str], None]) -> Sequence[str]:
        from deploykit.credentials import Redactor

        wanted = self._wanted(values)
        given = [value for accessory in wanted for value in accessory.variables.values() if isinstance(value, Secret)]
        try:
            return [self._docker_target.ensure_accessory(accessory, tell) for accessory in wanted]
        except DeploykitError as error:
            # It may print what it was given, and its last lines are among the details.
            redact = Redactor(given)
            error.details = tuple(redact(line) for line in error.details)
            raise

    def accessories(self) -> Sequence[Mapping[str, Any]]:
        return [asdict(state) for state in self._docker_target.accessories()]

    def preflight(self) -> Sequence[Problem]:
        """Accessories whose images are not on the engine."""
        from deploykit.targets.interface import Problem

        if not (wanted := self._wanted({})) or self._engine.problem() is not None:
            return ()
        return [
            Problem(
                f"the engine at {self._engine.host} does not have the image {image} of an accessory",
                f"docker pull {image}",
            )
            for image in self._docker_target.missing_images(wanted)
        ]

    def _wanted(self, values: Mapping[str, str | Secret]) -> list[Accessory]:
        """The accessories that the settings name for this environment; none where the sources are gone."""
        from deploykit.release.gathering import accessories_of
        from deploykit.targets.docker import Accessory, Limits

        if self._around.loaded is None:
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
            )
            for name, wanted in accessories_of(self._around.loaded.settings, self._around.name).items()
        ]

    @property
    def edge(self) -> Edge:
        return self._edge

    @cached_property
    def _edge(self) -> DockerEdge:
        from deploykit.edge.docker import DockerEdge
        from deploykit.targets.docker import network_of

        noted = self._remembered
        return DockerEdge(
            self._around.app,
            self._around.name,
            self._around.paths.edge,
            noted.port,
            self._engine,
            network=network_of(self._around.app, self._around.name),
            image=noted.edge_image,
            health_path=noted.health or "/health",
            bind=noted.bind,
        )

    def keeper(self) -> str:
        return f"Docker Engine at {self._engine.host}" if self._engine.problem() is None else ""

    def argv(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """The image's own command where the repository brings its Dockerfile and sets none; else the settings', so that
        it listens where the edge can reach it.
        """
        from deploykit.artifacts.image.dockerfile import container_argv, find_own

        loaded = self._around.loaded
        if loaded is None:
            return command
        own = find_own(self._around.root, loaded.settings.image.dockerfile)
        if own is not None and not loaded.is_set("service.command"):
            return ()
        return container_argv(command or loaded.require_command(), loaded.settings.image.port)

    # ---- the image

    def ahead(self, *, building: bool) -> None:
        if building and self._begun is None and self._around.loaded is not None:
            self._begun = self._begin(self._around.loaded.settings)
        if not building:
            self._connect()

    def _connect(self) -> None:
        if self._connecting is None:
            self._connecting = Ahead(self._edge.ahead)

    def _begin(self, settings: Settings) -> ImageAhead | ImageBeside:
        asked = self._around.asked
        if asked is not None and asked.host != self._remembered.host:
            asked.close()
            asked = None
        if isinstance(asked, ImageBeside):
            return asked  # whether it is by these settings is looked at when it is wanted: that takes a while to know
        # A release may be refused for a dozen reasons; where one got past the preflight with the same settings, hardly.
        early = recall(self._around.paths.root) == self._around.noted
        begun = ImageAhead(
            asked if asked is not None else Questions(self._around.root, self._remembered.host),
            partial(build_wanted, self._wanted_image(settings)),
            api=self._engine,
            early=early,
        )
        if early:
            begun.underway(_UNDERWAY)
        return begun

    def _wanted_image(self, settings: Settings) -> Wanted:
        from deploykit.artifacts.image.plan import recipe_of
        from deploykit.artifacts.layout import resolutions

        return Wanted(
            recipe=recipe_of(settings),
            main_branch=settings.image.main_branch,
            short_tags=settings.image.short_tags,
            kept=resolutions(self._around.paths.artifacts),
        )

    def may_build(self) -> None:
        if self._begun is not None:
            self._begun.open()
            # Asked now, an answer is there when the image is; while the lock is taken, this process has nothing to do.
            self._registry = self._reach()

    def _reach(self) -> Ahead[Registry] | None:
        """The registry, asked for while the engine builds; None where none is set."""
        loaded = self._around.loaded
        if loaded is None or not (image := loaded.settings.image).repository:
            return None
        environ = docker_environment(self._remembered.host)
        return Ahead(partial(_reached, image.repository, environ, insecure=image.insecure))

    def enough(self) -> None:
        self._end_build()
        registry, self._registry = self._registry, None
        if registry is not None:
            registry.forget(lambda reached: reached.close())

    def _end_build(self) -> None:
        if self._begun is not None:
            self._begun.close()
            self._begun = None

    def tree(self) -> GitTree:
        from deploykit.artifacts.git import read_tree

        found = self._begun.tree() if self._begun is not None else None
        return found if found is not None else read_tree(self._around.root)

    def _image(self, tree: GitTree, wanted: Wanted) -> tuple[Image, Docker]:
        """The image of the tree, and the command that built it: the one that was begun ahead, where that is it."""
        from deploykit.artifacts.image.engine import find_docker

        if isinstance(self._begun, ImageBeside) and not self._begun.makes(wanted):
            self._end_build()
        if self._begun is not None and (made := self._begun.image(tree)) is not None:
            return made, replace(self._begun.docker(), api=self._engine)
        docker = replace(find_docker(environ=docker_environment(self._remembered.host)), api=self._engine)
        return build_wanted(wanted, tree, docker), docker

    def build(self, sources: Sources, note: list[str], *, meanwhile: Callable[[], object]) -> Mapping[str, Any]:
        """Build the image, and push it where a registry is set."""
        loaded = self._around.loaded
        if loaded is None:
            raise UsageError("there are no sources to build", next_step=f"invoke release --env {self._around.name}")
        registry, self._registry = self._registry or self._reach(), None
        try:
            return self._build(sources.tree, loaded.settings, registry, note, meanwhile)
        finally:
            if registry is not None:
                registry.forget(lambda reached: reached.close())

    def _build(
        self,
        tree: GitTree,
        settings: Settings,
        registry: Ahead[Registry] | None,
        note: list[str],
        meanwhile: Callable[[], object],
    ) -> Mapping[str, Any]:
        from deploykit.artifacts.image.plan import tags_of

        started = time.monotonic()
        wanted = self._wanted_image(settings)
        plan = tags_of(tree, main_branch=wanted.main_branch, short=wanted.short_tags)
        self._connect()  # begins something in a container: later it would delay the push, sooner the build
        image, docker = self._image(tree, wanted)
        remember_wanted(self._around.paths.root, self._around.root, wanted, docker)
        built = time.monotonic() - started
        # Before it is started, and beside the push, which takes longer.
        next_up = Ahead(
            partial(self._engine.call, "tag", image.id, f"{_KEPT}/{self._around.app}", f"{self._around.name}.next")
        )
        digest, said = image.id, "kept on the engine: no registry is set"
        if registry is not None:
            reached = registry.get()
            Ahead(meanwhile)
            digest = self._push(docker, image, settings, plan.tags, reached, note)
            said = f"pushed to {settings.image.repository}"
        next_up.get()
        return {
            "digest": digest,
            "version": image.version,
            "id": image.id,
            "seconds": round(time.monotonic() - started, 3),
            "steps": {"image": round(built, 3), "push": round(time.monotonic() - started - built, 3)},
            "note": f"image {'found' if image.reused else 'built'}, {said}",
            "notes": list(image.warnings),
        }

    def _push(
        self,
        docker: Docker,
        image: Image,
        settings: Settings,
        tags: Sequence[Tag],
        registry: Registry,
        note: list[str],
    ) -> str:
        from deploykit.artifacts.image.names import parse_repository
        from deploykit.artifacts.image.push import push

        pushed = push(
            docker,
            image.id,
            parse_repository(settings.image.repository),
            tags,
            reached=registry,
            note=note.append,
        )
        return pushed.digest

    def load(self, digest: str) -> ImageArtifact:
        found = self._find_image(digest) if digest else None
        if found is None:
            settings = self._around.loaded.settings if self._around.loaded is not None else None
            where = settings.image.repository if settings is not None else ""
            raise DeploykitError(
                f"the engine at {self._engine.host} does not have the image {digest[:19] or 'of that release'} any more",
                next_step=f"docker pull {where}@{digest}" if where else f"invoke release --env {self._around.name}",
            )
        config = found.get("Config") or {}
        return ImageArtifact(
            digest=digest,
            version=(config.get("Labels") or {}).get(_VERSION_LABEL, ""),
            image=found["Id"],
            tree=Path(config.get("WorkingDir") or "/"),
        )

    def _find_image(self, digest: str) -> dict[str, Any] | None:
        """The image by its id, or by a registry's digest: that of the settings first, since the engine knows it by name."""
        loaded = self._around.loaded
        repository = loaded.settings.image.repository if loaded is not None else ""
        with contextlib.suppress(EngineError):  # a repository that is none: in an incident the settings may be anything
            if repository and (named := self._engine.find("inspect_image", f"{repository}@{digest}")) is not None:
                return dict(named)
        if (found := self._engine.find("inspect_image", digest)) is not None:
            return dict(found)
        for each in self._images():
            if digest in _digests(each):
                return dict(self._engine.call("inspect_image", each["Id"]))
        return None

    def prune(self, needed: Collection[str]) -> Sequence[str]:
        """Old images of this app on the engine (setting `image.keep`). What runs anywhere on it is needed, too, and what
        other environments need there: they say so by tags.
        """
        from deploykit.artifacts.image.retention import StoredImage, plan_retention

        loaded = self._around.loaded
        if loaded is None:
            return ()
        self._keep(needed)
        found = self._images()
        if len(found) <= loaded.settings.image.keep:
            return ()
        running = {each["ImageID"] for each in self._engine.containers({"deploykit.app": self._around.app})}
        wanted = {each["Id"] for each in found if any(tag.startswith(f"{_KEPT}/") for tag in each["RepoTags"] or ())}
        images = [
            StoredImage(
                digests=frozenset({each["Id"], *_digests(each)}),
                created=float(each["Created"]),
                tags=tuple(each.get("RepoTags") or ()),
                size=int(each["Size"]),
            )
            for each in found
        ]
        plan = plan_retention(
            images,
            needed={*needed, *running, *wanted},
            keep=loaded.settings.image.keep,
            younger_than=0.0,  # an image's time is its commit's; one that is about to be started has a tag
            now=time.time(),
        )
        ids = {digests: each["Id"] for digests, each in zip((image.digests for image in images), found, strict=True)}
        told = []
        for image in plan.remove:
            try:
                self._engine.find("remove_image", ids[image.digests], force=True)
            except EngineError as error:
                told.append(f"image {ids[image.digests][:19]} stays: {error.message}")
            else:
                told.append(f"image {ids[image.digests][:19]} was removed: {len(plan.kept)} newer ones are kept")
        return told

    def _images(self) -> list[dict[str, Any]]:
        return list(self._engine.call("images", filters={"label": [f"io.deploykit.app={self._around.app}"]}))

    def _keep(self, needed: Collection[str]) -> None:
        """Tag what this environment needs, and take the tags from what it no longer does."""
        repository, name = f"{_KEPT}/{self._around.app}", self._around.name
        found = self._images()
        keys = {each["Id"]: {each["Id"], *_digests(each)} for each in found}
        tagged = {each["Id"]: set(each["RepoTags"] or ()) for each in found}
        present = {tag for each in found for tag in each["RepoTags"] or () if tag.startswith(f"{repository}:{name}.")}
        for image in (key for key, digests in keys.items() if digests & set(needed)):
            tag = f"{name}.{image.rpartition(':')[2][:12]}"
            if f"{repository}:{tag}" in tagged[image]:
                present.discard(f"{repository}:{tag}")
            else:
                self._engine.call("tag", image, repository, tag)
        for stale in present - {f"{repository}:{name}.next"}:
            self._engine.find("remove_image", stale)
