"""From a spec to what the engine is asked for, and from what the engine says to an `Instance`."""

from __future__ import annotations

import datetime as dt
import io
import shlex
import signal
import tarfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploykit.model import DeploykitError, Labels, Secret, UsageError
from deploykit.process.docker import EngineError
from deploykit.targets.docker.names import PREFIX
from deploykit.targets.interface import Instance, InstanceState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deploykit.process.docker import Engine, HostOptions
    from deploykit.targets.interface import InstanceSpec, OneOff

__all__ = [
    "INNER_PORT",
    "LOG_CONFIG",
    "NOTE",
    "PORT_LABEL",
    "SECRETS",
    "UNPRIVILEGED",
    "Limits",
    "exit_code",
    "folder_archive",
    "image_of",
    "instance",
    "label_values",
    "port_of",
    "secret_files",
    "split_variables",
    "start_container",
    "user_numbers",
    "with_secrets",
    "working_dir",
]

INNER_PORT = 8000
"""What `{port}` and `PORT` are in a container unless another is set; the same in all: each has an
address of its own.
"""
PORT_LABEL = f"{PREFIX}port"
NOTE = f"{PREFIX}note."
LOG_CONFIG = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
"""The one driver whose logs every engine can give back, and an end to its growth."""
UNPRIVILEGED: HostOptions = {"security_opt": ["no-new-privileges"], "cap_drop": ["ALL"]}
"""Root in a container has no power over what is not its own, and no program in it gains any. What an image needs
besides is added by name.
"""
SECRETS = "/run/deploykit"
_VALUES = f"{SECRETS}/secrets.env"
_LOAD = f'set -a; . {_VALUES}; set +a; exec "$@"'
_NEVER = "0001-"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one container may use.

    `memory` bytes, `cpus` processors (0.5 is half of one), `pids` processes; 0: no limit.
    """

    memory: int = 0
    cpus: float = 0.0
    pids: int = 0

    def as_host_options(self) -> HostOptions:
        found: HostOptions = {}
        if self.memory:
            found["mem_limit"] = self.memory
        if self.cpus:
            found["nano_cpus"] = int(self.cpus * 1e9)
        if self.pids:
            found["pids_limit"] = self.pids
        return found


def label_values(labels: Labels) -> dict[str, str]:
    return {f"{PREFIX}{name}": value for name, value in labels.as_json().items()}


def working_dir(cwd: Path) -> str | None:
    """None: the image's own. A relative folder names nothing in a container."""
    return str(cwd) if cwd.is_absolute() else None


def image_of(engine: Engine, of: InstanceSpec | OneOff) -> dict[str, Any]:
    """What the engine says of the image that it runs. Raises DeploykitError where it is not there."""
    if not of.image:
        raise UsageError(f"no image was named for release {of.labels.release}", next_step="invoke build")
    found = engine.find_image(of.image)
    if found is None:
        raise DeploykitError(
            f"the engine at {engine.host} does not have the image {of.image}",
            next_step=f"docker pull {shlex.quote(of.image)}",
        )
    return found


def start_container(engine: Engine, container: str) -> None:
    """Start it, or remove it where the engine can't. Raises UsageError for an image without a shell."""
    try:
        engine.start(container)
    except EngineError as error:
        engine.remove_container(container)
        if "/bin/sh" in error.message and "no such file" in error.message:
            raise UsageError(
                "the image has no /bin/sh, which loads the secrets into the program's environment",
                next_step="use an image with a shell, or let the program read its secrets elsewhere",
            ) from None
        raise


# ---- secrets


def split_variables(variables: Mapping[str, str | Secret]) -> tuple[dict[str, str], dict[str, str]]:
    """(plain, secret). Plain values are in the container's configuration, which anyone with access to the engine can
    inspect.
    """
    plain = {name: value for name, value in variables.items() if not isinstance(value, Secret)}
    secret = {name: value.reveal() for name, value in variables.items() if isinstance(value, Secret)}
    return plain, secret


def with_secrets(entrypoint: list[str], command: list[str]) -> tuple[list[str], list[str]]:
    """Entrypoint and command that load the secrets first. The shell is replaced by the program: signals reach it."""
    return ["/bin/sh", "-c", _LOAD, "deploykit"], [*entrypoint, *command]


def secret_files(values: Mapping[str, str], uid: int, gid: int) -> bytes:
    """A tar for `/`: a file of each secret, and one that a shell loads; 0400, the folder 0500, for that user alone.

    Files of the container's own layer, copied in before its start: a tmpfs is not there before, and would be empty
    after a restart by the engine. They are gone with the container.
    """
    lines = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    files = {_VALUES: lines, **{f"{SECRETS}/{name}": value for name, value in values.items()}}
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        folder = tarfile.TarInfo(SECRETS.removeprefix("/"))
        folder.type, folder.mode, folder.uid, folder.gid, folder.mtime = tarfile.DIRTYPE, 0o500, uid, gid, time.time()
        tar.addfile(folder)
        for path, text in files.items():
            data = text.encode()
            file = tarfile.TarInfo(path.removeprefix("/"))
            file.size, file.mode, file.uid, file.gid, file.mtime = len(data), 0o400, uid, gid, time.time()
            tar.addfile(file, io.BytesIO(data))
    return made.getvalue()


def user_numbers(engine: Engine, container: str, user: str) -> tuple[int, int]:
    """User and group of what an image says as `user`, which may be a name; group 0 where none is said, as Docker has
    it.
    """
    name, _, group = user.partition(":")
    if not name or name.isdigit():
        return int(name or 0), int(group) if group.isdigit() else 0
    with tarfile.open(fileobj=io.BytesIO(engine.copy_from(container, "/etc/passwd"))) as tar:
        file = tar.extractfile(tar.getmembers()[0])
        lines = file.read().decode("utf-8", "replace").splitlines() if file is not None else []
    for line in lines:
        fields = line.split(":")
        if fields[0] == name:
            return int(fields[2]), int(fields[3])
    raise DeploykitError(f"the image's user {name} is not in its /etc/passwd", next_step="set USER to a number")


def folder_archive(at: str, folder: Path) -> bytes:
    """A tar for `/` that puts the folder's Python files at `at`, readable by everybody."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for path in (folder, *sorted(folder.rglob("*.py"))):
            tar.add(
                path, str(at + "/" + str(path.relative_to(folder))).strip("/"), recursive=False, filter=_readable_by_all
            )
    return made.getvalue()


def _readable_by_all(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mode = 0o755 if info.isdir() else 0o644
    return info


# ---- what runs


def instance(found: Mapping[str, Any], network: str, reached: tuple[str, int] | None) -> Instance:
    """`found` is what the engine says of the container; `reached`: its published address, None without one."""
    labels, state = found["Config"]["Labels"], found["State"]
    values = {name: labels.get(f"{PREFIX}{name}", "") for name in Labels.__dataclass_fields__}
    endpoint = found["NetworkSettings"]["Networks"].get(network) or {}
    fixed = (endpoint.get("IPAMConfig") or {}).get("IPv4Address", "")
    inner = endpoint.get("IPAddress") or fixed
    ended = state["Status"] in {"exited", "dead", "removing"}
    now = {"running": InstanceState.RUNNING, "paused": InstanceState.RUNNING}.get(state["Status"])
    own = port_of(found)
    host, port = reached or (inner, own)
    return Instance(
        name=labels[f"{PREFIX}name"],
        labels=Labels(**values),
        process=labels[f"{PREFIX}process"],
        replica=int(labels[f"{PREFIX}replica"]),
        state=now or (InstanceState.EXITED if ended else InstanceState.STARTING),
        host=host,
        port=port,
        started_at=_seconds(state["StartedAt"]),
        restarts=found["RestartCount"],
        exit_code=None if now or state["Status"] == "created" else exit_code(state["ExitCode"]),
        pid=state["Pid"] or None,
        inner_host=inner if reached else "",
        inner_port=own if reached else 0,
        notes={name.removeprefix(NOTE): value for name, value in labels.items() if name.startswith(NOTE)},
    )


def port_of(found: Mapping[str, Any]) -> int:
    """The port that a container's program listens on."""
    return int(found["Config"]["Labels"].get(PORT_LABEL, INNER_PORT))


def exit_code(code: int) -> int:
    """Negative for a signal, which Docker says as 128 and its number."""
    number = code - 128
    return -number if number in {int(known) for known in signal.valid_signals()} else code


def _seconds(time_text: str) -> float:
    """Seconds since the epoch of RFC 3339 with nanoseconds; 0 when it never began."""
    if time_text.startswith(_NEVER):
        return 0.0
    whole, _, rest = time_text.rstrip("Z").partition(".")
    return dt.datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{rest or 0}")
