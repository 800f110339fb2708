"""`invoke db.expand`: the migrate stage of a release, and nothing else of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploykit.release.build import build_artifact, load_artifact, read_sources
from deploykit.release.locking import environment_lock
from deploykit.release.migrate import migrate
from deploykit.release.values import database_values

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploykit.model import DeploykitError
    from deploykit.release.surroundings import Surroundings

__all__ = ["expand_now"]


def expand_now(around: Surroundings, tell: Callable[[str], None]) -> dict[str, Any]:
    """Apply what is pending in the present tree, by its own artefact. Raises what the migrate stage raises."""

    def lost(error: DeploykitError) -> None:
        tell(f"the lock was lost: {error.message}")

    with environment_lock(around.ledger, around.target, "db.expand", tell=tell, lost=lost):
        sources = read_sources(around)
        built = build_artifact(around, sources, [])
        artifact = load_artifact(around, str(built["digest"]))
        live = around.ledger.live()
        values = {**sources.values, **database_values(around, sources.spec)}
        return migrate(
            around, sources.spec, live.id if live is not None else "r0", artifact, values, tell=tell, released=False
        )
