"""The target `docker`: an instance is a container, found again by its labels.

- Names: `<app>.<environment>.<instance>`, which the engine assigns only once, so no instance starts twice.
- Addresses: on the app's own network, fixed for the container's life. Where the kit can't reach that network (macOS, an
  engine over ssh or TCP), it publishes a random port on the engine's loopback for its health checks.
- Secrets: files in `/run/deploykit` (0400, the container's user), loaded into the program's environment by a line of
  shell before the program replaces it. They are never in the container's configuration, so `docker inspect` has none.
- A crash is final (restart policy `no`) until `keep_alive`, which makes the policy `unless-stopped`.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import threading
import time
from pathlib import PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any

from deploykit.model import DeploykitError, Problem, UsageError
from deploykit.process.docker import Engine, EngineConflict, EngineError, EngineNotFound, HostOptions, LineReader
from deploykit.process.foreground import has_terminal
from deploykit.targets.docker.accessories import Accessory, AccessoryState, accessories, ensure_accessory, missing_image
from deploykit.targets.docker.attached import run_attached
from deploykit.targets.docker.claims import claim, repositories
from deploykit.targets.docker.containers import (
    INNER_PORT,
    LOG_CONFIG,
    NOTE,
    PORT_LABEL,
    UNPRIVILEGED,
    Limits,
    folder_archive,
    image_of,
    instance,
    label_values,
    port_of,
    secret_files,
    split_variables,
    start_container,
    user_numbers,
    with_secrets,
    working_dir,
)
from deploykit.targets.docker.data import changed_files, data_volume, ensure_data, mounts
from deploykit.targets.docker.ending import end, end_all
from deploykit.targets.docker.follow import follow
from deploykit.targets.docker.lock import EngineLock
from deploykit.targets.docker.names import PREFIX, Kind, Names
from deploykit.targets.docker.network import ADDRESS_LABEL, AppNetwork
from deploykit.targets.docker.oneoff import remove_forgotten, run_to_end
from deploykit.targets.interface import Instance, InstanceSpec, LockHolder, OneOff, OneOffResult, require_same_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from deploykit.model import RepositoryIdentity

__all__ = ["DockerTarget"]

_START_SECONDS = 60.0
_HALF_MADE_SECONDS = 5.0
_STEP_SECONDS = 0.02
_ALIVE = frozenset({"running", "restarting", "paused"})
_NOT_LIMITED = Limits()
_WEB = "web"
_DEFAULTS: HostOptions = {**UNPRIVILEGED, "init": True, "log_config": LOG_CONFIG}
"""`init`: a process 1 that passes signals on and buries the dead; most programs do neither."""


class DockerTarget:
    """One app in one environment on one engine.

    `limits` by process (`web`, `worker`). `publish`: whether instances publish a port on the engine's loopback; None:
    where the kit can't reach their network otherwise. `port` is what they listen on: `{port}` in their command, and
    `PORT`. `volumes` are the engine's by name, with the folder of each in the containers; `networks` are those that
    they are in besides. `capabilities` are Linux's that they keep, see capabilities(7). `wait` sleeps for so many
    seconds; it may raise Cancelled.
    """

    name = "docker"
    starts_at_once = True

    def __init__(  # noqa: PLR0913 - by keyword
        self,
        app: str,
        environment: str,
        engine: Engine,
        *,
        limits: Mapping[str, Limits] | None = None,
        publish: bool | None = None,
        port: int = INNER_PORT,
        volumes: Mapping[str, str] | None = None,
        networks: Sequence[str] = (),
        capabilities: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._names = Names(app, environment)
        self._engine = engine
        self._limits = dict(limits or {})
        self._publish = publish
        self._port = port
        self._volumes = dict(volumes or {})
        self._networks = tuple(networks)
        self._capabilities = tuple(capabilities)
        self._wait = wait
        self._network = AppNetwork(engine, self._names)
        self._lock = EngineLock(engine, self._names, clock=clock)
        self._one_at_a_time = threading.Lock()

    def preflight(self) -> Sequence[Problem]:
        if (error := self._engine.problem()) is not None:
            return [Problem(" ".join((error.message, *error.details)), error.next_step)]
        return [
            Problem(f"the engine at {self._engine.host} has no network {name}", f"docker network create {name}")
            for name in self._networks
            if self._engine.find_network(name) is None
        ]

    @property
    def network(self) -> str:
        """The network's name, for the edge; made when it is missing."""
        return str(self._network.ensure()["Name"])

    # ---- instances

    def start(self, spec: InstanceSpec) -> Instance:
        remove_forgotten(self._engine, self._names, spec.labels.release)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            found = self._find_started(spec.name)
            if found is not None and found["State"]["Status"] in _ALIVE:
                present = self._instance(found)
                require_same_version(spec, present)
                return present
            if found is not None:
                self._engine.remove_container(found["Id"])
            try:
                start_container(self._engine, self._create(spec))
            except EngineError as error:
                made_or_removed = isinstance(error, (EngineConflict, EngineNotFound))
                if not (made_or_removed or "Address already in use" in error.message):
                    raise
                self._wait(_STEP_SECONDS)
                continue
            if (found := self._find(spec.name)) is not None:
                return self._instance(found)
        raise DeploykitError(
            f"{spec.name} could not be started: somebody else starts or removes it", next_step="invoke status"
        )

    def _find_started(self, name: str) -> dict[str, Any] | None:
        """The container; one that was made and not started is given a moment: somebody may be about to.

        Otherwise it was left behind by a kit that was killed in between.
        """
        deadline = time.monotonic() + _HALF_MADE_SECONDS
        while True:
            found = self._find(name)
            if found is None or found["State"]["Status"] != "created" or time.monotonic() > deadline:
                return found
            self._wait(_STEP_SECONDS)

    def _create(self, spec: InstanceSpec) -> str:
        network = self._network.ensure()
        taken = [each["Labels"].get(ADDRESS_LABEL, "") for each in self._engine.containers(self._names.labels())]
        address = self._network.free_address(network, taken)
        labels = {
            **label_values(spec.labels),
            **self._names.labels(Kind.INSTANCE),
            f"{PREFIX}name": spec.name,
            f"{PREFIX}process": spec.process,
            f"{PREFIX}replica": str(spec.replica),
            ADDRESS_LABEL: address,
            PORT_LABEL: str(self._port),
            **{f"{NOTE}{name}": value for name, value in spec.notes.items()},
        }
        host: HostOptions = {
            **self._limits.get(spec.process, _NOT_LIMITED).as_host_options(),
            "restart_policy": {"Name": "no"},
        }
        if self._publishes:
            host["port_bindings"] = {self._port: (self._engine.publish_address(), None)}
        return self._container(
            self._names.container(spec.name),
            spec,
            tuple(word.replace("{port}", str(self._port)) for word in spec.argv),
            variables={"PORT": str(self._port)},
            labels=labels,
            host=host,
            address=address,
            stop_timeout=max(1, round(spec.stop_timeout)),
            healthcheck=spec.process == _WEB,
        )

    def _container(  # noqa: PLR0913 - by keyword
        self,
        name: str,
        of: InstanceSpec | OneOff,
        argv: Sequence[str],
        *,
        variables: Mapping[str, str],
        labels: Mapping[str, str],
        host: HostOptions,
        address: str = "",
        stop_timeout: int = 10,
        terminal: bool | None = None,
        healthcheck: bool = False,
    ) -> str:
        """Make it, with the secrets in it; returns its id. Nothing runs yet.

        `terminal`: see `create_container`. `healthcheck`: whether it runs the image's, which asks the service.
        """
        image = image_of(self._engine, of)
        folder = PurePosixPath(working_dir(of.cwd) or image["Config"].get("WorkingDir") or "/")
        if of.persistent:
            with self._one_at_a_time:
                ensure_data(self._engine, self._names, image, folder, of.persistent)
            host = {**host, "mounts": mounts(self._names, folder, of.persistent)}
        plain, hidden = split_variables(of.variables)
        command: list[str] | None = list(argv) or None
        entrypoint: list[str] | None = None
        if hidden:
            own = image["Config"]
            entrypoint, command = with_secrets(own.get("Entrypoint") or [], list(argv) or own.get("Cmd") or [])
        elif not argv and not image["Config"].get("Cmd") and not image["Config"].get("Entrypoint"):
            raise UsageError(
                f"the image {of.image} says no command", next_step="set service.command, or CMD in the Dockerfile"
            )
        made = self._engine.create_container(
            image["Id"],
            command,
            name=name,
            entrypoint=entrypoint,
            environment={"PYTHONUNBUFFERED": "1", **plain, **variables},
            labels=labels,
            working_dir=working_dir(of.cwd),
            stop_timeout=stop_timeout,
            terminal=terminal,
            healthcheck=healthcheck,
            network=self._network.name,
            address=address,
            host={
                **_DEFAULTS,
                "cap_add": self._capabilities,
                **host,
                "binds": [f"{volume}:{there}" for volume, there in self._volumes.items()] or None,
            },
        )
        try:
            for network in self._networks:
                self._engine.connect_network(made, network)
            if hidden:
                uid, gid = user_numbers(self._engine, made, image["Config"].get("User") or "")
                self._engine.copy_into(made, secret_files(hidden, uid, gid))
        except BaseException:
            self._engine.remove_container(made)
            raise
        return made

    def keep_alive(self, name: str, *, enabled: bool) -> None:
        container = self._names.container(name)
        if not self._engine.set_restart_policy(container, "unless-stopped" if enabled else "no") or not enabled:
            return
        found = self._find(name)
        if found is not None and found["State"]["Status"] == "exited":
            with contextlib.suppress(EngineNotFound):
                self._engine.start(container)  # the policy says nothing about what ended before

    def stop(self, name: str, *, timeout: float) -> None:
        found = self._find(name)
        if found is not None:
            end(self._engine, found, timeout=timeout)

    def instances(self) -> Sequence[Instance]:
        found = (
            self._engine.find_container(each["Id"])
            for each in self._engine.containers(self._names.labels(Kind.INSTANCE))
        )
        return tuple(sorted((self._instance(each) for each in found if each is not None), key=lambda one: one.name))

    def instance(self, name: str) -> Instance | None:
        found = self._find(name)
        return self._instance(found) if found is not None else None

    def _find(self, name: str) -> dict[str, Any] | None:
        return self._engine.find_container(self._names.container(name))

    @property
    def _publishes(self) -> bool:
        return self._publish if self._publish is not None else not self._engine.shares_our_network

    def _instance(self, found: Mapping[str, Any]) -> Instance:
        bound = (found["NetworkSettings"]["Ports"] or {}).get(f"{port_of(found)}/tcp") or []
        reached = self._engine.reach(int(bound[0]["HostPort"])) if bound else None
        return instance(found, self._network.name, reached)

    # ---- logs and commands

    def logs(self, name: str, *, lines: int = 20) -> Sequence[str]:
        reader = LineReader()
        return (*reader.feed(self._engine.logs(self._names.container(name), tail=lines)), *reader.last())

    def follow(self, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        return follow(self._engine, {name: self._names.container(name) for name in names})

    def run(self, one_off: OneOff, *, on_line: Callable[[str], None] | None = None) -> OneOffResult:
        """Run it in its own container. After a kill, the next call finds it again: the same command of the same release
        never runs twice at a time. The second call waits for the first run's end, and an unseen result is kept.

        Whatever interrupts the caller otherwise (a cancellation, Ctrl-C, an error in `on_line`) ends the command.
        """
        self._network.ensure()
        digest = hashlib.sha256("\0".join(one_off.argv).encode()).hexdigest()[:8]
        name = self._names.container(f"{one_off.labels.release}-run-{digest}")
        began = time.monotonic()
        found = self._engine.find_container(name)
        if found is not None and found["State"]["Status"] not in {"running", "exited"}:
            self._engine.remove_container(found["Id"])
            found = None
        try:
            if found is None:
                labels = {**label_values(one_off.labels), **self._names.labels(Kind.ONE_OFF)}
                made = self._container(name, one_off, one_off.argv, variables={}, labels=labels, host={})
                for at, folder in one_off.files.items():
                    self._engine.copy_into(made, folder_archive(at, folder))
                start_container(self._engine, made)
            program = PurePath(one_off.argv[0]).name
            code, output = run_to_end(self._engine, name, program, one_off.timeout, on_line, wait=self._wait)
        finally:
            self._engine.remove_container(name)
        return OneOffResult(exit_code=code, output=tuple(output), seconds=time.monotonic() - began)

    def attach(self, one_off: OneOff, redact: Callable[[str], str]) -> int:
        """Run it in a container of its own, which ends with this call."""
        self._network.ensure()
        terminal = has_terminal()
        name = self._names.container(f"{one_off.labels.release}-exec-{secrets.token_hex(4)}")
        labels = {**label_values(one_off.labels), **self._names.labels(Kind.ONE_OFF)}
        made = self._container(name, one_off, one_off.argv, variables={}, labels=labels, host={}, terminal=terminal)
        return run_attached(self._engine, made, one_off.argv[0], redact, terminal=terminal)

    # ---- data

    def written(self, name: str) -> Sequence[str]:
        """Files below an instance's working directory that are not as its image has them, relative to it."""
        found = self._find(name)
        if found is None:
            return ()
        return changed_files(self._engine, found, PurePosixPath(found["Config"].get("WorkingDir") or "/"))

    def has_data(self, path: str) -> bool:
        """Whether there is a volume for the persistent path."""
        return self._engine.find_volume(data_volume(self._names, path)) is not None

    # ---- accessories

    def ensure_accessory(self, accessory: Accessory, tell: Callable[[str], None] = lambda _text: None) -> str:
        """Start an accessory once and wait until it is ready; its host name. See `accessories.ensure_accessory`."""
        self._network.ensure()
        return ensure_accessory(self._engine, self._names, accessory, tell=tell, wait=self._wait)

    def accessories(self) -> Sequence[AccessoryState]:
        return accessories(self._engine, self._names)

    def missing_images(self, wanted: Sequence[Accessory]) -> list[str]:
        """Images of accessories that would have to be made, and which the engine does not have."""
        return [each.image for each in wanted if missing_image(self._engine, self._names, each)]

    # ---- the lock, and whose it is

    def lock(self, owner: str, reason: str, *, token: int, lease: float) -> LockHolder | None:
        return self._lock.acquire(owner, reason, token=token, lease=lease)

    def unlock(self, owner: str, *, token: int) -> None:
        self._lock.release(owner, token=token)

    def lock_holder(self) -> LockHolder | None:
        return self._lock.holder()

    def remove_lock(self) -> None:
        self._lock.remove()

    def claim(self, repositories: Sequence[RepositoryIdentity]) -> None:
        claim(self._engine, self._names, repositories)

    def repositories(self) -> Sequence[RepositoryIdentity]:
        return repositories(self._engine, self._names)

    def down(self) -> None:
        """Ends instances, one-off commands and accessories, and the network unless the edge still uses it.

        Volumes stay, and so does the lock, which the caller may hold.
        """
        end_all(self._engine, self._names)
        self._network.remove()
