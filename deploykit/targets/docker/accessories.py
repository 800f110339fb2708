"""What an app needs beside it, such as PostgreSQL or Redis: started once and then left alone.

A release never stops, replaces or upgrades an accessory: its data would be down with it. A changed spec is a matter for
a person.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deploykit.model import DeploykitError
from deploykit.process.docker import EngineError
from deploykit.targets.docker.containers import LOG_CONFIG, secret_files, split_variables, with_secrets
from deploykit.targets.docker.names import PREFIX, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deploykit.model import Secret
    from deploykit.process.docker import Engine
    from deploykit.targets.docker.names import Names

__all__ = ["Accessory", "ensure_accessory"]


@dataclass(frozen=True, kw_only=True)
class Accessory:
    """One such container. Instances reach it by `name` on the app's network; `folder` is kept on a volume."""

    name: str
    image: str
    folder: str = ""
    argv: tuple[str, ...] = ()
    variables: Mapping[str, str | Secret] = field(default_factory=dict)


def ensure_accessory(engine: Engine, names: Names, accessory: Accessory) -> str:
    """Start it if it does not run. Raises DeploykitError when its image is not on the engine."""
    container = names.container(accessory.name)
    found = engine.find("inspect_container", container)
    if found is None:
        try:
            _create(engine, names, accessory, container)
        except EngineError as error:
            if not error.conflict:  # else: somebody else was faster
                raise
    engine.call("start", container)
    return accessory.name


def _create(engine: Engine, names: Names, accessory: Accessory, container: str) -> None:
    image = engine.find("inspect_image", accessory.image)
    if image is None:
        raise DeploykitError(
            f"the engine at {engine.host} does not have the image {accessory.image}",
            next_step=f"docker pull {accessory.image}",
        )
    volume = names.container(accessory.name)
    if accessory.folder:
        engine.call("create_volume", volume, labels=names.labels(Kind.VOLUME))
    plain, secrets = split_variables(accessory.variables)
    own = image["Config"]
    entrypoint, command = None, list(accessory.argv) or None
    if secrets:
        entrypoint, command = with_secrets(own.get("Entrypoint") or [], list(accessory.argv) or own.get("Cmd") or [])
    endpoint = engine.call("create_endpoint_config", aliases=[accessory.name])
    made = engine.call(
        "create_container",
        image["Id"],
        command,
        name=container,
        entrypoint=entrypoint,
        environment=plain,
        labels={**names.labels(Kind.ACCESSORY), f"{PREFIX}name": accessory.name, f"{PREFIX}stop": "60"},
        host_config=engine.call(
            "create_host_config",
            network_mode=names.network,
            init=True,
            restart_policy={"Name": "unless-stopped"},
            binds=[f"{volume}:{accessory.folder}"] if accessory.folder else None,
            log_config=LOG_CONFIG,
        ),
        networking_config=engine.call("create_networking_config", {names.network: endpoint}),
    )
    if secrets:
        engine.call("put_archive", made["Id"], "/", secret_files(secrets, 0, 0))
