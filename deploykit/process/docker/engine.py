"""The client of one Docker Engine: what the kit asks of it, by name.

It is asked through Docker's SDK. Answers are as the engine's API describes them; every error is an `EngineError` with
the engine's own words. https://docs.docker.com/reference/api/engine/
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, TypedDict

from deploykit.process.docker.connection import Connection
from deploykit.process.docker.errors import EngineConflict, EngineError, EngineNotFound
from deploykit.process.docker.stream import Stream, attach, follow_log, start_command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


__all__ = ["Engine", "HostOptions"]

_REMOVAL_SECONDS = 30.0
_STEP_SECONDS = 0.02


class HostOptions(TypedDict, total=False):
    """What a container gets of its machine, by the names of the SDK's `create_host_config`.

    `port_bindings`: by the container's port, the address and the port (None: any) on which it is published.
    """

    restart_policy: Mapping[str, str]
    binds: Sequence[str] | None
    mounts: Sequence[Mapping[str, Any]]
    log_config: Mapping[str, Any]
    security_opt: Sequence[str]
    cap_drop: Sequence[str]
    cap_add: Sequence[str]
    init: bool
    mem_limit: int
    nano_cpus: int
    pids_limit: int
    port_bindings: Mapping[int, tuple[str, int | None]]


class Engine(Connection):
    """One engine; see `Connection` for how it is found.

    Whatever asks raises EngineError, EngineUnreachable, and UsageError for an engine that can't be used.
    """

    # ---- containers

    def containers(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """What is known of all containers with these labels, those that ended included."""
        with self._api_call() as api:
            wanted = [f"{name}={value}" for name, value in labels.items()]
            return list(api.containers(all=True, filters={"label": wanted}))

    def find_container(self, container: str) -> dict[str, Any] | None:
        with contextlib.suppress(EngineNotFound), self._api_call() as api:
            return dict(api.inspect_container(container))
        return None

    def create_container(  # noqa: PLR0913 - by keyword
        self,
        image: str,
        command: Sequence[str] | None = None,
        *,
        name: str,
        labels: Mapping[str, str],
        entrypoint: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        working_dir: str | None = None,
        user: str | None = None,
        stop_signal: str | None = None,
        stop_timeout: int | None = None,
        network: str = "",
        address: str = "",
        aliases: Sequence[str] = (),
        host: HostOptions | None = None,
        terminal: bool | None = None,
        healthcheck: bool = True,
    ) -> str:
        """Make it and return its id; nothing runs yet. `address` and `aliases` are those on the `network`.

        `terminal`: whether it gets one, of a container that also gets an input; None: neither. `healthcheck` False: the
        image's HEALTHCHECK is not run in it.

        Raises EngineConflict when the name is taken, EngineNotFound when there is no such image.
        """
        options = host or {}
        with self._api_call() as api:
            endpoint = api.create_endpoint_config(ipv4_address=address or None, aliases=list(aliases) or None)
            made = api.create_container(
                image,
                command,
                name=name,
                labels=dict(labels),
                stdin_open=terminal is not None,
                tty=bool(terminal),
                entrypoint=entrypoint,
                environment=dict(environment) if environment is not None else None,
                working_dir=working_dir,
                user=user,
                stop_signal=stop_signal,
                stop_timeout=stop_timeout,
                healthcheck=None if healthcheck else {"test": ["NONE"]},
                ports=list(options.get("port_bindings", ())) or None,
                host_config=api.create_host_config(network_mode=network or None, **options),
                networking_config=api.create_networking_config({network: endpoint}) if address or aliases else None,
            )
        return str(made["Id"])

    def connect_network(self, container: str, network: str) -> None:
        with self._api_call() as api:
            api.connect_container_to_network(container, network)

    def copy_into(self, container: str, tar: bytes) -> None:
        """Unpack the archive at the root of its files."""
        with self._api_call() as api:
            api.put_archive(container, "/", tar)

    def copy_from(self, container: str, path: str) -> bytes:
        """A tar of that file or folder."""
        with self._api_call() as api:
            pieces, _ = api.get_archive(container, path)
            return b"".join(pieces)

    def file_mode(self, container: str, path: str) -> int:
        """The mode of a file, as Go's `FileMode`; 0 where it is not there."""
        with contextlib.suppress(EngineNotFound), self._api_call() as api:
            pieces, found = api.get_archive(container, path)
            pieces.close()
            return int(found["mode"])
        return 0

    def changes(self, container: str) -> list[dict[str, Any]]:
        """How its files differ from its image's: `Path`, and `Kind` 0 changed, 1 added, 2 deleted."""
        with self._api_call() as api:
            return list(api.diff(container) or ())

    def start(self, container: str) -> None:
        with self._api_call() as api:
            api.start(container)

    def kill(self, container: str, signal: str) -> None:
        """Send the signal. Raises EngineConflict when it does not run."""
        with self._api_call() as api:
            api.kill(container, signal)

    def wait(self, container: str, *, timeout: float | None = None) -> None:
        """Return when it has ended. Raises EngineTimedOut after `timeout` seconds; None: for as long as it takes."""
        with self._api_call(timeout) as api:
            api.wait(container, timeout=timeout)

    def set_restart_policy(self, container: str, policy: str) -> bool:
        """Whether there is such a container."""
        with contextlib.suppress(EngineNotFound), self._api_call() as api:
            api.update_container(container, restart_policy={"Name": policy})
            return True
        return False

    def remove_container(self, container: str) -> None:
        """It is gone when this returns, running or not, with its anonymous volumes, also if another
        process removes it.
        """
        deadline = time.monotonic() + _REMOVAL_SECONDS
        while True:
            try:
                with contextlib.suppress(EngineNotFound), self._api_call() as api:
                    api.remove_container(container, force=True, v=True)
            except EngineConflict:  # somebody else is removing it
                if time.monotonic() > deadline:
                    raise
                time.sleep(_STEP_SECONDS)
            else:
                return

    def logs(self, container: str, *, since: float = 0, tail: int | str = "all", timestamps: bool = False) -> bytes:
        """What it has printed so far, from `since` (seconds since the epoch) on; nothing where it is not there.

        `timestamps`: each line begins with the engine's time of it.
        """
        with contextlib.suppress(EngineNotFound), self._api_call() as api:
            return bytes(api.logs(container, since=since or None, tail=tail, timestamps=timestamps))
        return b""

    def follow(self, container: str, *, since: int = 0, tail: int | str = "all", timestamps: bool = False) -> Stream:
        """Its log until it ends."""
        with self._api_call() as api:
            return follow_log(api, container, since=since, tail=tail, timestamps=timestamps)

    def attach(self, container: str) -> Stream:
        """Its input and output, with its terminal where it was made with one. Attach before it is started."""
        with self._api_call() as api:
            return attach(api, container)

    def resize_terminal(self, container: str, *, rows: int, columns: int) -> None:
        with self._api_call() as api:
            api.resize(container, height=rows, width=columns)

    # ---- commands in containers

    def execute(
        self, container: str, argv: Sequence[str], *, user: str = "", workdir: str | None = None
    ) -> tuple[int, bytes]:
        """(exit code, output) of a command in a container that runs; it may take as long as it likes."""
        with self._api_call() as api:
            made = api.exec_create(container, list(argv), user=user, workdir=workdir)["Id"]
            stream = start_command(api, made)
            try:
                output = b"".join(piece for _, piece in iter(stream.frame, None))
            finally:
                stream.close()
            while (code := api.exec_inspect(made)["ExitCode"]) is None:  # its output ends a moment before it does
                time.sleep(_STEP_SECONDS)
            return int(code), output

    def open_exec(
        self, container: str, argv: Sequence[str], *, user: str = "", workdir: str | None = None, timeout: float
    ) -> Stream:
        """A command in a container that runs, with its input and its output, which may be silent for
        `timeout` seconds.
        """
        with self._api_call() as api:
            made = api.exec_create(container, list(argv), stdin=True, user=user, workdir=workdir)["Id"]
            return start_command(api, made, timeout=timeout)

    # ---- images

    def images(self, label: str) -> list[dict[str, Any]]:
        """What is known of all images with that label (`name=value`)."""
        with self._api_call() as api:
            return list(api.images(filters={"label": [label]}))

    def find_image(self, image: str) -> dict[str, Any] | None:
        with contextlib.suppress(EngineNotFound), self._api_call() as api:
            return dict(api.inspect_image(image))
        return None

    def tag(self, image: str, name: str) -> None:
        """Give it that name, `repository:tag`."""
        repository, _, tag = name.rpartition(":")
        with self._api_call() as api:
            api.tag(image, repository, tag)

    def import_image(self, tar: bytes, repository: str, tag: str) -> None:
        """Make an image of these files."""
        with self._api_call() as api:
            api.import_image_from_data(tar, repository=repository, tag=tag)

    def pull(self, image: str) -> dict[str, Any]:
        """Get it from its registry, with what `docker login` left, and return what `find_image` says of it."""
        with self._api_call() as api:
            for said in api.pull(image, stream=True, decode=True):
                if "error" in said:
                    raise EngineError(str(said["error"]))
            return dict(api.inspect_image(image))

    def push(self, repository: str, tag: str, login: Mapping[str, str], *, silence: float) -> list[dict[str, Any]]:
        """What the engine says of the push, errors of the registry included. `login` as the API's `AuthConfig`.

        Raises EngineTimedOut when it said nothing for `silence` seconds.
        """
        with self._translated(silence), contextlib.closing(self._client(silence)) as api:
            return list(api.push(repository, tag=tag, stream=True, decode=True, auth_config=dict(login)))

    def remove_image(self, image: str, *, force: bool = False) -> None:
        """Take the tag from it, and remove it with its last one; `force`: also the last one of what runs."""
        with contextlib.suppress(EngineNotFound), self._api_call() as api:
            api.remove_image(image, force=force)

    # ---- networks and volumes

    def find_network(self, network: str) -> dict[str, Any] | None:
        with contextlib.suppress(EngineNotFound), self._api_call() as api:
            return dict(api.inspect_network(network))
        return None

    def create_network(self, network: str, *, labels: Mapping[str, str], ipam: Mapping[str, Any] | None = None) -> None:
        with self._api_call() as api:
            api.create_network(network, labels=dict(labels), ipam=ipam, check_duplicate=True)

    def remove_network(self, network: str) -> None:
        """Raises EngineError while containers are connected to it."""
        with contextlib.suppress(EngineNotFound), self._api_call() as api:
            api.remove_network(network)

    def find_volume(self, volume: str) -> dict[str, Any] | None:
        with contextlib.suppress(EngineNotFound), self._api_call() as api:
            return dict(api.inspect_volume(volume))
        return None

    def create_volume(self, volume: str, *, labels: Mapping[str, str]) -> None:
        """Nothing happens when it is there."""
        with self._api_call() as api:
            api.create_volume(volume, labels=dict(labels))

    def remove_volume(self, volume: str) -> None:
        """Raises EngineConflict while a container uses it."""
        with contextlib.suppress(EngineNotFound), self._api_call() as api:
            api.remove_volume(volume)
