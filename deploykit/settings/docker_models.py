"""`[tool.deploykit]`: the container image, the target docker and its accessories."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from deploykit.settings.base_model import HostName, Model, Name, Port, PositiveSeconds

__all__ = ["Accessory", "Docker", "Image"]

Capability = Literal[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
]
"""Those that Docker gives every container unless told otherwise: https://docs.docker.com/engine/security/#linux-kernel-capabilities
"""


class Image(Model):
    """The container image. `repository` is where it is pushed to (`registry.example.org/team/app`); empty: it stays in
    the engine.
    """

    repository: str = ""
    insecure: bool = False
    """The registry speaks plain HTTP."""
    token_host: HostName = ""
    """The host of the registry's token server, where it is another one than the registry's own: it gets the login."""
    dockerfile: str = ""
    """The repository's own; empty: `docker/Dockerfile` or `Dockerfile` where there is one, else the kit writes it."""
    base: str = ""
    """The base image (build argument BASE_IMAGE); empty: `python:3.X-slim` of the Python that the kit runs on."""
    build_base: str = ""
    """The base image of the stages before the last (build argument BUILD_IMAGE), where compilers may be."""
    arguments: dict[str, str] = Field(default_factory=dict)
    platform: Annotated[str, Field(pattern=r"^([a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?)?$")] = ""
    port: Port = 8000
    """The port that the service listens on in its container."""
    main_branch: str = "main"
    """Only images of this branch are called `latest`."""
    short_tags: bool = False
    """Whether `v1.2.3` is called `1.2` and `1`, too."""
    keep: Annotated[int, Field(ge=1, le=1000)] = 10
    """So many of the newest images are kept, besides those that run or could be rolled back to."""


class Accessory(Model):
    """What the app needs beside it on the target docker, such as PostgreSQL: started once, and left
    alone by releases.
    """

    image: Annotated[str, Field(min_length=1)]
    command: str = ""
    """Empty: the image's own."""
    folder: Annotated[str, Field(pattern=r"^(/\S+)?$")] = ""
    """Where it keeps its data, which a volume holds; empty: it keeps none."""
    variables: dict[str, str] = Field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    """Names of variables whose values it gets, from where the application's come from."""
    health: str = ""
    """A command that is run in it until it answers 0; empty: it is ready when it runs."""
    start_timeout: PositiveSeconds = 60
    memory_mb: Annotated[int, Field(ge=0)] = 0
    cpus: Annotated[float, Field(ge=0)] = 0
    environments: tuple[Name, ...] = ()
    """Where it is started; empty: in every environment on the target docker."""
    capabilities: tuple[Capability, ...] = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID")
    """Linux capabilities that it keeps. The official images start as root, give their data to a user of theirs and
    become that user, which takes these.
    """


class Docker(Model):
    """The target docker. `edge_image` runs HAProxy; empty: the official one, `haproxy:lts`. Limits are of each
    container.
    """

    edge_image: str = ""
    memory_mb: Annotated[int, Field(ge=0)] = 0
    """0: no limit."""
    cpus: Annotated[float, Field(ge=0)] = 0
    """Processors, 0.5 is half of one; 0: no limit."""
    pids: Annotated[int, Field(ge=0)] = 0
    """Processes and threads; 0: no limit."""
    volumes: dict[
        Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$")], Annotated[str, Field(pattern=r"^/\S+$")]
    ] = Field(default_factory=dict)
    """The engine's volumes by name, and where the service finds them; one that is not there is made."""
    networks: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Networks of the engine that the service is in as well as in its own; they must be there."""
    capabilities: tuple[Capability, ...] = ()
    """Linux capabilities that the service's containers keep; an image that says a USER needs none."""
