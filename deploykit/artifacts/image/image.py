"""How an image is made, and what the engine knows of one: the words that builds, pushes and releases share."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from deploykit.model.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from deploykit.artifacts.image.engine import Docker

__all__ = ["APP_LABEL", "BUILD_LABEL", "OCI", "Image", "Recipe", "inspect_image"]

BUILD_LABEL = "io.deploykit.build"
"""The key of all that went into the image."""
APP_LABEL = "io.deploykit.app"
OCI = "org.opencontainers.image."
"""Before the keys of the image specification's annotations."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the image of an app is made; everything but `app` has a default.

    `dockerfile` names the repository's own (empty: `docker/Dockerfile` or `Dockerfile`, else one is written by the
    kit). `base` is the base image, `build_base` that of the stages before the last (where compilers may be). For the
    kit's Dockerfile: `argv` starts the service (`{port}` in it), `health` is a path, `health_host` the Host header for
    it, `requirements` the setting `service.requirements`. `platform` (`linux/arm64`) and `network` (`host`) are docker
    build's own; `arguments` are build arguments, no secrets.
    """

    app: str
    dockerfile: str = ""
    base: str = ""
    build_base: str = ""
    argv: tuple[str, ...] = ()
    health: str = "/health"
    health_host: str = ""
    port: int = 8000
    requirements: str = ""
    platform: str = ""
    network: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image in the engine. `id` is its content digest there; `digest` what is deployed: the registry's once it was
    pushed, else `id`.

    `tags` are its local names, `platform` is `linux/amd64`, `created` the commit's time (UTC epoch seconds).
    `reused`: it was built before. `warnings` are sentences about the image itself.
    """

    id: str
    digest: str
    tags: tuple[str, ...]
    version: str
    platform: str
    created: float
    labels: Mapping[str, str] = field(default_factory=dict)
    reused: bool = False
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()


def inspect_image(docker: Docker, reference: str) -> Image:
    """What the engine knows of an image. Raises UsageError when it has none of that name or id."""
    found = docker.api.find_image(reference)
    if found is None:
        raise UsageError(f"the engine has no image {reference}", next_step="invoke build")
    return _image(found)


def _image(data: Mapping[str, Any]) -> Image:
    config = data.get("Config") or {}
    labels = config.get("Labels") or {}
    pushed = [name.partition("@")[2] for name in data.get("RepoDigests") or []]
    created = labels.get(f"{OCI}created") or data.get("Created") or ""
    return Image(
        id=data["Id"],
        digest=pushed[0] if pushed else data["Id"],
        tags=tuple(data.get("RepoTags") or ()),
        version=labels.get(f"{OCI}version", ""),
        platform="/".join(filter(None, (data.get("Os"), data.get("Architecture"), data.get("Variant")))),
        created=_seconds(created),
        labels=labels,
        warnings=tuple(_warnings(config)),
    )


def _warnings(config: Mapping[str, Any]) -> Iterator[str]:
    user = str(config.get("User") or "")
    if user.partition(":")[0] in {"", "0", "root"}:
        yield "the image runs as root: end its Dockerfile with USER 10001:10001"
    elif not user.partition(":")[0].isdigit():
        yield f"the image's user {user!r} is no number, so a cluster can't see that it is not root"
    if not config.get("Healthcheck"):
        yield "the image has no HEALTHCHECK: the engine can't tell whether it is well"


def _seconds(text: str) -> float:
    try:
        return datetime.fromisoformat(text[:19] + "+00:00").timestamp()
    except ValueError:
        return 0.0
