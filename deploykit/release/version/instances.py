"""From a version's spec, artefact and values to the instances that a target can start."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from deploykit.model import Labels, Secret
from deploykit.targets.interface import InstanceSpec, OneOff

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deploykit.release.version.spec import ReleaseSpec

__all__ = [
    "SPEC_NOTE",
    "WEB",
    "GoneArtifact",
    "RunnableArtifact",
    "RunnableVersion",
    "application_variables",
    "instance_names",
    "instance_specs",
    "one_off",
    "release_of",
    "takes_requests",
]

WEB = "web"
"""The process that gets requests; every other one only has to stay up."""
SPEC_NOTE = "spec"
"""How the version is run, kept as a label of what runs: a lost ledger can be restored from it."""
# What an application may inherit from the caller besides what its target gives it; everything else has to be declared.
_INHERITED = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
_PROCESS_OF = re.compile(rf"[^-]+-{WEB}-[0-9]+")
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class RunnableArtifact(Protocol):
    """The part of an artefact that starting it needs; all paths are outside of any checkout.

    Of an image, paths are those in its containers.
    """

    @property
    def digest(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def tree(self) -> Path: ...

    @property
    def python(self) -> Path: ...

    @property
    def image(self) -> str:
        """What containers of it are made of; empty: the paths are of this machine, and processes are started."""

    def variables(self, path: str) -> Mapping[str, str]:
        """PATH, PYTHONPATH and the like; `path` is what follows on PATH."""


@dataclass(frozen=True, kw_only=True)
class GoneArtifact:
    """Implements `RunnableArtifact` for a version that is only to be stopped. Its own artefact may be gone."""

    digest: str
    version: str
    tree: Path = Path("/")
    python: Path = Path("python3")
    image: str = ""

    def variables(self, _path: str) -> Mapping[str, str]:
        return {}


@dataclass(frozen=True, kw_only=True)
class RunnableVersion:
    """A version that can be started. `release` is the id of the release that brought it, `values` are its variables."""

    release: str
    spec: ReleaseSpec
    artifact: RunnableArtifact
    values: Mapping[str, str | Secret]


def takes_requests(instance: str) -> bool:
    """Whether the instance of that name gets requests: it is one of the service itself."""
    return _PROCESS_OF.fullmatch(instance) is not None


def release_of(instance: str) -> str:
    """The id of the release that the instance of that name belongs to."""
    return instance.partition("-")[0]


def instance_names(release: str, spec: ReleaseSpec) -> tuple[str, ...]:
    """All instances of a version: those of the service first, then its other processes."""
    web = [f"{release}-{WEB}-{replica}" for replica in range(spec.replicas)]
    others = [f"{release}-{each.name}-{replica}" for each in spec.processes for replica in range(each.replicas)]
    return (*web, *others)


def application_variables(version: RunnableVersion) -> dict[str, str | Secret]:
    """The whole environment of the application's processes."""
    spec, artifact = version.spec, version.artifact
    return {
        **({} if artifact.image else {name: os.environ[name] for name in _INHERITED if name in os.environ}),
        **spec.variables,
        **version.values,
        **artifact.variables(_SYSTEM_PATH),
        "DEPLOYKIT_APP": spec.app,
        "DEPLOYKIT_ENVIRONMENT": spec.environment,
        "DEPLOYKIT_RELEASE": version.release,
        "DEPLOYKIT_VERSION": artifact.version,
    }


def instance_specs(version: RunnableVersion, *, anchor: str) -> dict[str, InstanceSpec]:
    """All instances of the version, by name. `anchor` is the newest hash of the ledger, kept on their labels."""
    spec, artifact = version.spec, version.artifact
    labels = _labels(version, anchor)
    variables = application_variables(version)
    notes = {SPEC_NOTE: json.dumps(spec.as_json(), separators=(",", ":"))}
    wanted = [(WEB, spec.argv, replica, spec.stop_timeout) for replica in range(spec.replicas)]
    for each in spec.processes:
        wanted += [(each.name, each.argv, replica, each.stop_timeout) for replica in range(each.replicas)]
    made = [
        InstanceSpec(
            labels=labels,
            process=process,
            replica=replica,
            argv=argv,
            cwd=artifact.tree,
            variables=variables,
            stop_timeout=stop_timeout,
            image=artifact.image,
            notes=notes,
            persistent=spec.persistent,
            user=spec.user,
        )
        for process, argv, replica, stop_timeout in wanted
    ]
    return {instance.name: instance for instance in made}


def one_off(
    version: RunnableVersion, argv: Sequence[str], *, timeout: float = 0.0, files: Mapping[str, Path] | None = None
) -> OneOff:
    """A command of this version that ends by itself: its migrations, `invoke exec`.

    `timeout` in seconds, for `Target.run`; `files`: see OneOff.
    """
    return OneOff(
        labels=_labels(version, ""),
        argv=tuple(argv),
        cwd=version.artifact.tree,
        variables=application_variables(version),
        timeout=timeout,
        image=version.artifact.image,
        files=files or {},
        persistent=version.spec.persistent,
        user=version.spec.user,
    )


def _labels(version: RunnableVersion, anchor: str) -> Labels:
    return Labels(
        app=version.spec.app,
        environment=version.spec.environment,
        release=version.release,
        version=version.artifact.version,
        digest=version.artifact.digest,
        anchor=anchor,
    )
