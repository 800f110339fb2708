"""What every target can do. Each implementation passes `tests/integration/contracts/target_contract.py`."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from deploykit.model import DeploykitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from deploykit.model import Labels, Problem, RepositoryIdentity, Secret

__all__ = [
    "Instance",
    "InstanceSpec",
    "InstanceState",
    "LockHolder",
    "OneOff",
    "OneOffResult",
    "Target",
    "require_same_version",
]


class InstanceState(enum.Enum):
    STARTING = "starting"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, kw_only=True)
class InstanceSpec:
    """One instance to start. Its name is `<release>-<process>-<replica>`; the same name is never started twice.

    `argv` may hold `{port}`, which the target replaces by the port it chose. `variables` are given to the process by
    its environment, never by argv; values of type Secret are not printed or logged anywhere.
    `restart` False: an exit is final (used while a new version is judged: a crash must be seen, not hidden).
    """

    labels: Labels
    replica: int
    argv: tuple[str, ...]
    cwd: Path
    variables: Mapping[str, str | Secret]
    process: str = "web"
    stop_timeout: float = 10.0
    image: str = ""
    """For targets that run images: the reference to run, by digest (`name@sha256:…`, or the image's id)."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What else the target is to keep beside the labels, where it can, and to give back. No secrets."""
    persistent: tuple[str, ...] = ()
    """Paths below `cwd` that outlive the version, for targets that make them (in `process` the artefact has links)."""
    user: str = ""
    """The OS user that it is, by name or number, for targets where the artefact does not say; empty: this one."""

    @property
    def name(self) -> str:
        return f"{self.labels.release}-{self.process}-{self.replica}"


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One instance as the target sees it now. `exit_code` is negative for a signal, None while it runs.

    `restarts` counts how often the target started it again after it had ended by itself.
    """

    name: str
    labels: Labels
    process: str
    replica: int
    state: InstanceState
    host: str
    port: int
    started_at: float
    restarts: int = 0
    exit_code: int | None = None
    pid: int | None = None
    inner_host: str = ""
    """Where the edge reaches it, if that is not where the kit does (`host`, `port`): on the target's own network."""
    inner_port: int = 0
    notes: Mapping[str, str] = field(default_factory=dict)
    """The spec's, from targets that keep them."""

    @property
    def edge_address(self) -> tuple[str, int]:
        return (self.inner_host, self.inner_port) if self.inner_host else (self.host, self.port)


def require_same_version(spec: InstanceSpec, present: Instance) -> None:
    """Raise DeploykitError when what runs under the spec's name is another version: another ledger has started it."""
    if present.labels.digest != spec.labels.digest:
        raise DeploykitError(
            f"{spec.name} runs already, and is another version: {present.labels.version}",
            next_step=f"see what runs there: invoke status --env {spec.labels.environment}",
        )


@dataclass(frozen=True, kw_only=True)
class OneOff:
    """A command of the new version that ends by itself, such as its migrations."""

    labels: Labels
    argv: tuple[str, ...]
    cwd: Path
    variables: Mapping[str, str | Secret] = field(default_factory=dict)
    timeout: float = 600.0
    image: str = ""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Folders of this machine by the path at which the command finds them, for targets that don't share its disk."""
    persistent: tuple[str, ...] = ()
    """See InstanceSpec."""
    user: str = ""
    """See InstanceSpec."""


@dataclass(frozen=True, kw_only=True)
class OneOffResult:
    exit_code: int
    output: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class LockHolder:
    """Who holds the environment on the target. `expires_at` is seconds since the epoch, UTC."""

    owner: str
    reason: str
    token: int
    expires_at: float


class Target(Protocol):
    """A place where instances of an app run. Every method looks first and then converges, so it can be repeated."""

    name: str
    starts_at_once: bool
    """Whether several instances may be started, and stopped, at the same time, by threads."""

    def preflight(self) -> Sequence[Problem]:
        """What is missing before anything can start here; nothing is changed."""

    def start(self, spec: InstanceSpec) -> Instance:
        """Start an instance, or return the one of that name if it is there and alive. Does not wait for health."""

    def keep_alive(self, name: str, *, enabled: bool) -> None:
        """Whether the target starts the instance again when it ends by itself. Off after `start`: a crash of a new
        version must be seen; the rollout turns it on once the version is trusted.
        """

    def stop(self, name: str, *, timeout: float) -> None:
        """SIGTERM, then SIGKILL after `timeout` seconds.

        Nothing happens if it is not there. Returns when it is gone.
        """

    def instances(self) -> Sequence[Instance]:
        """All instances of this app in this environment, read back from the target, ended ones included."""

    def instance(self, name: str) -> Instance | None:
        """The one of that name, as `instances` has it."""

    def logs(self, name: str, *, lines: int = 20) -> Sequence[str]:
        """The last lines that the instance printed, oldest first; empty when nothing is known of it."""

    def follow(self, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        """(instance, line) as they come, until the caller stops."""

    def run(self, one_off: OneOff, *, on_line: Callable[[str], None] | None = None) -> OneOffResult:
        """Run a command to its end in the app's environment; a non-zero exit is a result, not an error.

        `on_line` gets each line of the output as it comes. Raises DeploykitError past the `timeout`.
        """

    def attach(self, one_off: OneOff, redact: Callable[[str], str]) -> int:
        """Run a command in the foreground, with the input and output of this process; its exit code, negative for a
        signal. There is no time limit.

        It has this process's terminal where there is one. Else its output passes through `redact` line by line. Ctrl-C
        ends it.
        """

    def lock(self, owner: str, reason: str, *, token: int, lease: float) -> LockHolder | None:
        """Acquire or renew the environment's lock: None on success, else its holder. An expired lock can be acquired.

        A smaller `token` than the last one never gets it (fencing).
        """

    def unlock(self, owner: str, *, token: int) -> None:
        """Release the lock; nothing happens if another owner holds it."""

    def lock_holder(self) -> LockHolder | None:
        """The present holder of the lock; None if it is free or expired."""

    def remove_lock(self) -> None:
        """Remove what the target keeps of a lock that nobody holds, where that is in the way of anybody.

        The ledger's lock still fences. Nothing happens while somebody holds it.
        """

    def claim(self, repositories: Sequence[RepositoryIdentity]) -> None:
        """Keep on the target itself whose environment this is, in place of what was kept. Outlives `down`."""

    def repositories(self) -> Sequence[RepositoryIdentity]:
        """What `claim` kept; empty: nobody's so far."""

    def down(self) -> None:
        """End everything of this app in this environment, accessories and supervisor included. Data stay."""
