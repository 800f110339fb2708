"""`invoke logs`: what the instances print, without the app's secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.credentials import Redactor
from deploykit.model import DeploykitError, Secret, UsageError
from deploykit.release.environment.versions import present_spec
from deploykit.release.version.gather import gather_values
from deploykit.release.version.values import read_values, secrets_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from deploykit.release.environment import Environment

__all__ = ["follow_logs", "read_logs"]


def read_logs(environment: Environment, lines: int, process: str = "") -> list[tuple[str, str]]:
    """(instance, line): the last `lines` of each instance of the live version, or of all where none is live.

    `process`: only of instances of that process.
    """
    redact = _redactor(environment)
    names = _instance_names(environment, process)
    return [(name, redact(line)) for name in names for line in environment.target.logs(name, lines=lines)]


def follow_logs(environment: Environment, process: str = "") -> Iterator[tuple[str, str]]:
    """As `read_logs`, each line as it is printed."""
    redact = _redactor(environment)
    names = _instance_names(environment, process)
    return ((name, redact(line)) for name, line in environment.target.follow(names))


def _redactor(environment: Environment) -> Redactor:
    """Masks the secrets of every version that runs: applications print what they should not."""
    releases = {instance.labels.release for instance in environment.target.instances()}
    values: list[Mapping[str, str | Secret]] = [
        read_values(environment.paths.values, release) for release in sorted(releases)
    ]
    if not all(values) and environment.repository is not None:
        values.append(_present_values(environment))  # released from another machine, or what was kept here is lost
    return Redactor([secret for found in values for secret in secrets_in(found)])


def _present_values(environment: Environment) -> Mapping[str, str | Secret]:
    """What a version would get now, which is mostly what those that run have."""
    if environment.repository is None:
        return {}
    try:
        spec = present_spec(environment)
        return gather_values(environment.repository, spec, environment.paths.values, make=False)[0]
    except DeploykitError:
        return {}  # a value that is missing can't be masked, and is no reason to show no logs


def _instance_names(environment: Environment, process: str) -> list[str]:
    live = environment.ledger.live()
    instances = environment.target.instances()
    if process and process not in (known := {item.process for item in instances}):
        raise UsageError(
            f"no process {process!r} runs in {environment.name}",
            details=[f"there are: {', '.join(sorted(known)) or 'none'}"],
            next_step=f"invoke status --env {environment.name}",
        )
    instances = [item for item in instances if process in {"", item.process}]
    names = [item.name for item in instances if live is not None and item.labels.release == live.id]
    names = names or [item.name for item in instances]
    if not names:
        raise DeploykitError(
            f"nothing runs in {environment.name}, so there are no logs",
            next_step=f"invoke release --env {environment.name}",
        )
    return names
