"""Whose environment it is, kept on the engine itself: the label of a volume, which nothing mounts and `down` leaves.

A container or a network would be gone with `down`, and what stays then (volumes with data) is what must not be shared.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from deploykit.model import DeploykitError, RepositoryIdentity
from deploykit.targets.docker.names import PREFIX, Kind, Names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploykit.process.docker import Engine

__all__ = ["claim", "repositories"]

_REPOSITORIES = f"{PREFIX}repositories"


def claim(engine: Engine, names: Names, wanted: Sequence[RepositoryIdentity]) -> None:
    """Keep these, in place of what was kept. Call it with the environment's lock held."""
    volume = _volume(names)
    engine.remove_volume(volume)  # labels can't be changed
    text = json.dumps([each.as_json() for each in wanted])
    engine.create_volume(volume, labels={**names.labels(Kind.CLAIM), _REPOSITORIES: text})


def repositories(engine: Engine, names: Names) -> list[RepositoryIdentity]:
    """What `claim` kept; empty where nothing was. Raises DeploykitError when it can't be read."""
    volume = _volume(names)
    found = engine.find_volume(volume)
    if found is None:
        return []
    try:
        return [RepositoryIdentity.from_json(each) for each in json.loads((found["Labels"] or {})[_REPOSITORIES])]
    except (ValueError, KeyError, TypeError):
        raise DeploykitError(
            f"it can't be read whose environment this is: the volume {volume} does not say it",
            next_step=f"make sure that it is this repository's, then: docker volume rm {volume}",
        ) from None


def _volume(names: Names) -> str:
    return names.container("claim.repositories")  # with a dot, which no accessory has in its name
