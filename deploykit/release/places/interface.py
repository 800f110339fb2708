"""What a place has to offer, and what is noted of it, so that it is found again when the sources are gone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from deploykit.process.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from deploykit.edge.interface import Edge
    from deploykit.model import Problem, Secret
    from deploykit.release.build import Sources
    from deploykit.release.instances import RunnableArtifact
    from deploykit.targets.interface import Target

__all__ = ["Place", "Remembered", "recall", "remember"]

_FILE = "place.json"


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """The part of the settings by which target and edge are found. No secrets. For the target process only `target` counts."""

    target: str = "process"
    host: str = ""
    port: int | None = None
    bind: str = "127.0.0.1"
    health: str = ""
    edge_image: str = ""
    image_port: int = 8000
    ledger: str = ""


class Place(Protocol):
    """One kind of target with its edge, for one app in one environment."""

    kind: str
    shared: bool
    """Whether other machines release there, too."""

    @property
    def target(self) -> Target: ...

    @property
    def edge(self) -> Edge: ...

    def keeper(self) -> str:
        """What starts again that which ends by itself, for people to read: `pid 4711`; empty when it does not run."""

    def argv(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """The words that start the service there; `command` are those of the settings. May be empty: it knows itself."""

    def build(self, sources: Sources, note: list[str]) -> Mapping[str, Any]:
        """Make the artefact, or find it made. At least `digest`, `version`, `seconds` and `note`, for the journal."""

    def load(self, digest: str) -> RunnableArtifact:
        """The artefact of that digest. Raises DeploykitError when it is gone."""

    def preflight(self) -> Sequence[Problem]:
        """What is missing there besides what target and edge miss; nothing is changed."""

    def ensure_accessories(self, values: Mapping[str, str | Secret], tell: Callable[[str], None]) -> Sequence[str]:
        """Start what the app needs beside it and wait until it is ready; the names. `values` hold the secrets that they want.

        What was made by other settings is left alone, which `tell` hears of.
        """

    def accessories(self) -> Sequence[Mapping[str, Any]]:
        """What the app needs beside it, as it is now: `name`, `image`, `state`, `restarts`."""

    def prune(self, needed: Collection[str]) -> Sequence[str]:
        """Remove old artefacts that nobody can want any more, never one whose digest is `needed`; a sentence for each."""


def remember(folder: Path, what: Remembered) -> None:
    """Note it in the environment's folder; nothing is written when it is noted already."""
    if recall(folder) == what and (folder / _FILE).exists():
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(folder / _FILE, json.dumps(asdict(what), indent=1))


def recall(folder: Path) -> Remembered:
    """What was noted; the target process where nothing was, or where it can't be read."""
    try:
        content = json.loads((folder / _FILE).read_text())
        return Remembered(**{name: content[name] for name in Remembered.__dataclass_fields__ if name in content})
    except (OSError, ValueError, TypeError):
        return Remembered()
