"""Names of images: what a registry's grammar allows, and why it refuses the rest. Pure.

The grammar is that of the OCI distribution specification 1.1 ("Pulling manifests") and of
github.com/distribution/reference: a path of lower-case components, a tag of at most 128 characters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from deploykit.model import UsageError

__all__ = ["TAG", "Repository", "parse_repository"]

TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*", re.ASCII)
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]{{1,5}})?", re.ASCII)
_LONGEST = 255
_HUB = "docker.io"


@dataclass(frozen=True, kw_only=True)
class Repository:
    """Where images of an app are kept: `registry` (`registry.example.org:5000`) and `path` in it (`team/shop`)."""

    registry: str
    path: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.path}"

    def tagged(self, tag: str) -> str:
        return f"{self}:{tag}"

    def at(self, digest: str) -> str:
        return f"{self}@{digest}"

    @property
    def on_loopback(self) -> bool:
        """Docker allows plain HTTP to these."""
        host = self.registry.rpartition(":")[0] if re.search(r":\d+$", self.registry) else self.registry
        return host in {"localhost", "[::1]"} or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


def parse_repository(name: str) -> Repository:
    """Read `registry.example.org/team/shop`; without a registry (`team/shop`) it is Docker Hub, as for docker itself.

    Raises UsageError with what is wrong, and the nearest name that is allowed.
    """
    text = name.strip()
    first, slash, rest = text.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, path = first, rest
    else:
        registry, path = _HUB, text if slash else f"library/{text}"
    if not _HOST.fullmatch(registry):
        raise _refused(name, f"{registry!r} is no host name", "")
    last = path.rpartition("/")[2]
    if "@" in path or ":" in last:
        raise _refused(
            name, "it has a tag or a digest; only the repository is wanted", path.split("@")[0].split(":")[0]
        )
    bad = [component for component in path.split("/") if not _COMPONENT.fullmatch(component)]
    if bad:
        return_to = "/".join(filter(None, (_valid_component(component) for component in path.split("/"))))
        why = (
            f"{bad[0]!r} may have lower-case letters, digits, and single . _ - between them"
            if bad[0]
            else "a part of it is empty"
        )
        raise _refused(name, why, f"{registry}/{return_to}" if return_to and registry != _HUB else return_to)
    if len(f"{registry}/{path}") > _LONGEST:
        raise _refused(name, f"it is longer than {_LONGEST} characters", "")
    return Repository(registry=registry, path=path)


def _valid_component(component: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", component.lower()).strip("-")


def _refused(name: str, why: str, instead: str) -> UsageError:
    step = f'set image.repository = "{instead}"' if instead else "set image.repository to registry.example.org/team/app"
    return UsageError(f"no registry allows the name {name!r}: {why}", next_step=step)
