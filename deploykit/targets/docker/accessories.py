"""What an app needs beside it, such as PostgreSQL or Redis: started once and then left alone.

A release never stops, replaces or upgrades an accessory: its data would be down with it. A changed spec is a matter for
a person, and is said.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
import time
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING

from deploykit.model import DeploykitError, Secret
from deploykit.process.docker import Engine, EngineConflict, EngineError
from deploykit.targets.docker.containers import (
    LOG_CONFIG,
    UNPRIVILEGED,
    Limits,
    secret_files,
    split_variables,
    user_numbers,
    with_secrets,
)
from deploykit.targets.docker.names import PREFIX, Kind, Names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


__all__ = ["Accessory", "AccessoryState", "accessories", "ensure_accessory", "missing_image"]

_SPEC = f"{PREFIX}spec"
_POLL_SECONDS = 0.2
_LINES = 20
_RESTARTS = 4
"""The engine starts it again, each time later; who ended so often will not be ready."""


@dataclass(frozen=True, kw_only=True)
class Accessory:
    """One such container. Instances reach it by `name` on the app's network; `folder` is kept on a volume.

    `health` is a command that is run in the container until it answers 0, for `start_timeout` seconds at most; empty:
    it is ready when it runs. `capabilities` are Linux's that it keeps, see capabilities(7).
    """

    name: str
    image: str
    folder: str = ""
    argv: tuple[str, ...] = ()
    variables: Mapping[str, str | Secret] = field(default_factory=dict)
    health: tuple[str, ...] = ()
    start_timeout: float = 60.0
    limits: Limits = field(default_factory=Limits)
    capabilities: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """The digest of all settings whose change requires a new container, without the values of secrets."""
        plain, secrets = split_variables(self.variables)
        whole = [
            self.image,
            self.folder,
            self.argv,
            sorted(plain.items()),
            sorted(secrets),
            astuple(self.limits),
            sorted(self.capabilities),
        ]
        return hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:20]


@dataclass(frozen=True, kw_only=True)
class AccessoryState:
    """One as the engine shows it: `state` is Docker's word (`running`, `exited` …)."""

    name: str
    image: str
    state: str
    restarts: int


def accessories(engine: Engine, names: Names) -> list[AccessoryState]:
    """Those that are there, by name."""
    found = []
    for each in engine.containers(names.labels(Kind.ACCESSORY)):
        shown = engine.find_container(each["Id"])
        if shown is not None:
            found.append(
                AccessoryState(
                    name=shown["Config"]["Labels"].get(f"{PREFIX}name", ""),
                    image=shown["Config"]["Image"],
                    state=shown["State"]["Status"],
                    restarts=shown["RestartCount"],
                )
            )
    return sorted(found, key=lambda state: state.name)


def missing_image(engine: Engine, names: Names, accessory: Accessory) -> bool:
    """Whether it would have to be made, and its image is not on the engine."""
    if engine.find_container(names.container(accessory.name)) is not None:
        return False
    return engine.find_image(accessory.image) is None


def ensure_accessory(
    engine: Engine,
    names: Names,
    accessory: Accessory,
    *,
    tell: Callable[[str], None],
    wait: Callable[[float], None],
) -> str:
    """Start it if it does not run, and wait until it is ready.

    Raises DeploykitError when its image is not on the engine, or it does not become ready, with its last lines.
    """
    container = names.container(accessory.name)
    found = engine.find_container(container)
    if found is None:
        with contextlib.suppress(EngineConflict):  # somebody else was faster
            _create(engine, names, accessory, container)
    elif found["Config"]["Labels"].get(_SPEC, accessory.digest) != accessory.digest:
        tell(
            f"the accessory {accessory.name} was created with other settings and stays as it is; "
            "to create it again with these (its "
            f"volume stays): docker rm --force {container}"
        )
    if found is None or found["State"]["Status"] != "running":
        engine.start(container)
    _await_ready(engine, container, accessory, wait)
    return accessory.name


def _await_ready(engine: Engine, container: str, accessory: Accessory, wait: Callable[[float], None]) -> None:
    deadline = time.monotonic() + accessory.start_timeout
    said: Sequence[str] = ()
    while True:
        shown = engine.find_container(container)
        if shown is None:
            raise DeploykitError(f"the accessory {accessory.name} was removed while it started", next_step="try again")
        if shown["State"]["Status"] == "running":
            if not accessory.health:
                return
            code, said = _ask(engine, container, accessory.health)
            if code == 0:
                return
        ended = shown["State"]["Status"] in {"exited", "dead"} or shown["RestartCount"] >= _RESTARTS
        if ended or time.monotonic() > deadline:
            break
        wait(_POLL_SECONDS)
    logs = engine.logs(container, tail=_LINES).decode("utf-8", "replace").splitlines()
    state = shown["State"]
    how = (
        f"ends again and again, with exit code {state['ExitCode']}"
        if ended
        else f"is not ready after {accessory.start_timeout:g} s"
    )
    raise DeploykitError(
        f"the accessory {accessory.name} {how}",
        details=[*(f"health: {line}" for line in said[-3:]), *(f"| {line}" for line in logs)],
        next_step=f"docker logs {container}",
    )


def _ask(engine: Engine, container: str, command: Sequence[str]) -> tuple[int, list[str]]:
    """(exit code, output) of a command in the container; 1 when it ended before it could be asked."""
    try:
        code, output = engine.execute(container, command)
    except EngineError as error:
        return 1, [error.message]
    return code, output.decode("utf-8", "replace").splitlines()


def _create(engine: Engine, names: Names, accessory: Accessory, container: str) -> None:
    image = engine.find_image(accessory.image)
    if image is None:
        raise DeploykitError(
            f"the engine at {engine.host} does not have the image {accessory.image}",
            next_step=f"docker pull {shlex.quote(accessory.image)}",
        )
    volume = names.container(accessory.name)
    if accessory.folder:
        engine.create_volume(volume, labels=names.labels(Kind.VOLUME))
    plain, secrets = split_variables(accessory.variables)
    own = image["Config"]
    entrypoint, command = None, list(accessory.argv) or None
    if secrets:
        entrypoint, command = with_secrets(own.get("Entrypoint") or [], list(accessory.argv) or own.get("Cmd") or [])
    made = engine.create_container(
        accessory.image,
        command,
        name=container,
        entrypoint=entrypoint,
        environment=plain,
        labels={
            **names.labels(Kind.ACCESSORY),
            f"{PREFIX}name": accessory.name,
            f"{PREFIX}stop": "60",
            _SPEC: accessory.digest,
        },
        network=names.network,
        aliases=[accessory.name],
        host={
            **accessory.limits.as_host_options(),
            **UNPRIVILEGED,
            "cap_add": accessory.capabilities,
            "init": True,
            "restart_policy": {"Name": "unless-stopped"},
            "binds": [f"{volume}:{accessory.folder}"] if accessory.folder else None,
            "log_config": LOG_CONFIG,
        },
    )
    if secrets:
        try:
            uid, gid = user_numbers(engine, made, own.get("User") or "")
            engine.copy_into(made, secret_files(secrets, uid, gid))
        except BaseException:
            engine.remove_container(made)
            raise
